/** Approvals that would count for nobody where the log stands now: a node does not know whether its key was revoked, the log does. */
import { releaseKeys } from '@lockstep/protocol/release/release-keys';
import type { MadeSignature } from '@lockstep/protocol/signing/record';
import type { TrustedPolicy } from '@lockstep/protocol/verdict/verify-release';
import type { LogEvidence } from './evidence.ts';

/** @returns one line for each key, with the reason */
export function countForNobody({ policy, root }: TrustedPolicy, { entries }: LogEvidence, signatures: readonly MadeSignature[]): string[] {
  const keys = releaseKeys(policy, entries, root);
  const approving = new Map(signatures.filter((one) => one.use === 'release-dsse').map((one) => [one.key.id, one.key.name]));
  return [...approving].flatMap(([id, name]) => {
    const key = keys.find((one) => one.key.id === id);
    const why = key === undefined ? 'it is no release key of the policy, and no such key has handed over to it' : key.ended;
    return why === null ? [] : [`the approval of ${name} (${id.slice(0, 16)}) counts for nobody: ${why}`];
  });
}
