/** Who could approve if this key document were logged now: one that nobody who may has signed would look as if it counted. */
import { sha256Hex } from '@lockstep/protocol/digest/digest';
import { formatDocument } from '@lockstep/protocol/dsse/document';
import { type Envelope, pae } from '@lockstep/protocol/dsse/envelope';
import { carry, CARRIED } from '@lockstep/protocol/release/carried';
import { releaseKeys, type SeatKey } from '@lockstep/protocol/release/release-keys';
import type { TrustedPolicy } from '@lockstep/protocol/verdict/verify-release';
import type { LogEvidence } from './evidence.ts';

export function keysAfter({ policy, root }: TrustedPolicy, { entries, view, key }: LogEvidence, envelope: Envelope): SeatKey[] {
  const payload = formatDocument(CARRIED, carry(envelope, null));
  const { payloadType } = CARRIED;
  const next = {
    index: view.checkpoint.size,
    origin: key.name,
    payloadType,
    payload,
    digest: sha256Hex(pae(payloadType, payload)),
    // Whoever has it logged says nothing by that.
    signer: sha256Hex(payload),
  };
  return releaseKeys(policy, [...entries, next], root);
}
