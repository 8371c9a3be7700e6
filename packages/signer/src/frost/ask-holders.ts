/** One message to several holders at once: what each answers, or why it is of no use. */
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import type { Participant } from './ceremony.ts';
import { REFUSAL } from './session-documents.ts';
import { hear, payloadTypeOf } from './signed-message.ts';

/** The way to a holder, whatever it is. */
export interface HolderChannel {
  readonly name: string;
  ask(message: Uint8Array): Promise<Uint8Array>;
}

/** Why a holder did not do its part. */
export interface Fault {
  readonly holder: string;
  readonly why: string;
  /** Whether it may do better in another session. */
  readonly again: boolean;
  /** Whether its own check said no. */
  readonly evidence: boolean;
}

export type Answer<T> = { readonly value: T } | { readonly fault: Fault };
export interface Signer {
  readonly channel: HolderChannel;
  readonly participant: Participant;
}

export async function askAll<T>(
  patienceMilliseconds: number,
  signers: readonly Signer[],
  message: Uint8Array,
  session: Sha256,
  read: (signer: Signer, answer: Uint8Array) => Answer<T>,
): Promise<{ readonly ok: true; readonly values: readonly T[] } | { readonly ok: false; readonly faults: readonly Fault[] }> {
  const answers = await Promise.all(
    signers.map(async (signer): Promise<Answer<T>> => {
      const answer = await within(patienceMilliseconds, signer.channel, message);
      if (answer === null) return { fault: faultOf(signer.participant.name, 'it is silent', true) };
      return payloadTypeOf(answer) === REFUSAL.payloadType ? refusalOf(signer, answer, session) : read(signer, answer);
    }),
  );
  const faults = answers.flatMap((one) => ('fault' in one ? [one.fault] : []));
  return faults.length > 0 ? { ok: false, faults } : { ok: true, values: answers.flatMap((one) => ('value' in one ? [one.value] : [])) };
}

function refusalOf(signer: Signer, answer: Uint8Array, session: Sha256): { readonly fault: Fault } {
  const said = hear(REFUSAL, answer, [signer.participant]);
  if (!said.ok) return wrong(signer, `its refusal ${said.why}`);
  const { value } = said.said;
  if (value.from !== signer.participant.name || (value.session !== null && value.session !== session))
    return wrong(signer, 'its refusal is of another session');
  const again = value.code === 'session' || value.code === 'busy';
  return { fault: faultOf(signer.participant.name, value.reason, again, value.code === 'evidence') };
}

export function wrong({ participant }: Signer, why: string): { readonly fault: Fault } {
  return { fault: faultOf(participant.name, why) };
}

export function faultOf(holder: string, why: string, again = false, evidence = false): Fault {
  return { holder, why, again, evidence };
}

/** null when it takes longer, or fails. */
async function within(milliseconds: number, channel: HolderChannel, message: Uint8Array): Promise<Uint8Array | null> {
  const { promise, resolve } = Promise.withResolvers<null>();
  const timer = setTimeout(() => resolve(null), milliseconds);
  try {
    return await Promise.race([channel.ask(message), promise]);
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
  }
}
