/** Signatures of log entries by Node's own P-256, where the signed bytes are at hand: some forty times faster than in pure code. */
import { createPublicKey, verify } from 'node:crypto';
import type { PublicKey } from '@lockstep/protocol/key/p256';

/** @param statement the pre-authentication encoding that was signed. Malformed is false. */
export function isSignedStatement(key: PublicKey, statement: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify('sha256', statement, createPublicKey({ key: Buffer.from(key.spki), format: 'der', type: 'spki' }), signature);
  } catch {
    // A signature that is no DER is a bad signature.
    return false;
  }
}
