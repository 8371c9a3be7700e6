/** What a build was made from, as its definition says: the same in every statement about it. */
import { IN_TOTO_PAYLOAD } from '../dsse/envelope.ts';
import { readClaim } from './claim.ts';
import type { LoggedEntry } from './redecide.ts';

/** '' when no statement about it is among them. */
export function sourceOf(entries: readonly LoggedEntry[], buildId: string): string {
  for (const one of entries) {
    if (one.payloadType !== IN_TOTO_PAYLOAD) continue;
    const claim = readClaim(one.payload, one.digest, one.signer);
    if (claim?.buildId === buildId) return claim.definition.lock.source.ref;
  }
  return '';
}
