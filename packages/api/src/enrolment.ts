/** What both keys of a builder sign when it joins, so that nobody enrols another's. @param transport, attestation ids of the keys */
export function enrolmentWords(name: string, transport: string, attestation: string): string {
  return `lockstep-enrolment/v1\n${name}\n${transport}\n${attestation}\n`;
}
