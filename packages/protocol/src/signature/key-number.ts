/** The 8 bytes by which minisign and signify files name a key. Those programs draw them; ours come from the key, so that nobody keeps them. */
import { sha256 } from '@noble/hashes/sha2.js';

export const KEY_NUMBER_BYTES = 8;

/** The first 8 bytes of the SHA-256 of the 32 bytes. It names a key, and does not prove it. */
export function keyNumber(publicKey: Uint8Array): Uint8Array {
  return sha256(publicKey).slice(0, KEY_NUMBER_BYTES);
}

export function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, index) => byte === other[index]);
}
