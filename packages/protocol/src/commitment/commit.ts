/** A salted commitment: it hides the statement, and nobody can open it as another, or as another builder's. */
import { sha256 } from '@noble/hashes/sha2.js';
import { fromHex, toHex } from '../bytes/hex.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import type { Sha256 } from '../digest/digest.ts';

/** Says what the hash is for, so that it is no hash of anything else. */
const LABEL = toUtf8('lockstep-commitment/v1\n');

/**
 * SHA-256(label || opening || key || salt || statement), each of 32 bytes. The key is in it, so that a builder that
 * repeats another's commitment cannot open it under its own name.
 * @param salt 32 random bytes in hex, kept until the reveal: without it the few likely statements could be tried
 */
export function commitmentOf(parts: { opening: Sha256; key: Sha256; salt: string; statement: Sha256 }): Sha256 {
  const bytes = [parts.opening, parts.key, parts.salt, parts.statement].map((hex) => {
    const found = fromHex(hex, 32);
    if (found === null) throw new TypeError('each part of a commitment has 32 bytes in hex');
    return found;
  });
  return toHex(sha256(Uint8Array.from([LABEL, ...bytes].flatMap((one) => [...one])))) as Sha256;
}
