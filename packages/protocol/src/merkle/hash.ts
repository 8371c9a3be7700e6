/** Merkle tree hashes over SHA-256 (RFC 6962 section 2.1; the same in RFC 9162 section 2.1.1). */
import { sha256 } from '@noble/hashes/sha2.js';

/** 32 bytes. */
export type TreeHash = Uint8Array;

export const HASH_BYTES = 32;

/** Leaves and nodes are told apart by their first byte, so that no node passes for a leaf. */
const LEAF = 0;
const NODE = 1;

export function leafHash(entry: Uint8Array): TreeHash {
  const bytes = new Uint8Array(entry.length + 1);
  bytes[0] = LEAF;
  bytes.set(entry, 1);
  return sha256(bytes);
}

export function nodeHash(left: TreeHash, right: TreeHash): TreeHash {
  const bytes = new Uint8Array(2 * HASH_BYTES + 1);
  bytes[0] = NODE;
  bytes.set(left, 1);
  bytes.set(right, 1 + HASH_BYTES);
  return sha256(bytes);
}

export function emptyRoot(): TreeHash {
  return sha256(new Uint8Array(0));
}

export function sameHash(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
