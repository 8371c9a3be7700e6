/** Which threshold key a session is about: the ceremony that made it; null where the message does not say. */
import { fromUtf8 } from '@lockstep/protocol/bytes/utf8';
import { parseEnvelope } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { SESSION } from '@lockstep/signer/frost/session-documents';

export function keyOfMessage(message: Uint8Array): string | null {
  try {
    const { payloadType, payload } = parseEnvelope(message);
    if (payloadType !== SESSION.payloadType) return null;
    // Only to choose who is asked: the holder reads and checks all of it.
    return /"ceremony":"([0-9a-f]{64})"/.exec(fromUtf8(payload.subarray(0, 200)) ?? '')?.[1] ?? null;
  } catch (error) {
    if (error instanceof LockstepError) return null;
    throw error;
  }
}
