/** Checks proofs: RFC 9162 sections 2.1.3.2 (inclusion) and 2.1.4.2 (consistency). A proof of the wrong length is false. */
import { emptyRoot, HASH_BYTES, nodeHash, sameHash, type TreeHash } from './hash.ts';

/** More than any tree of 2^53 leaves needs; also the bound of C2SP tlog-witness. */
export const MAX_PROOF_HASHES = 63;

export interface TreeHead {
  /** Leaves in the tree. */
  readonly size: number;
  readonly root: TreeHash;
}

const isSize = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;

/** Whoever parsed them has checked it; a proof may also come from elsewhere, and a longer hash would be cut. */
const areHashes = (hashes: readonly Uint8Array[]): boolean => hashes.every((hash) => hash.length === HASH_BYTES);

export function verifyInclusion(leaf: TreeHash, index: number, tree: TreeHead, proof: readonly TreeHash[]): boolean {
  if (!isSize(index) || !isSize(tree.size) || index >= tree.size || proof.length > MAX_PROOF_HASHES) return false;
  if (!areHashes([leaf, tree.root, ...proof])) return false;
  let fn = index;
  let sn = tree.size - 1;
  let hash = leaf;
  for (const sibling of proof) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      hash = nodeHash(sibling, hash);
      while (fn % 2 === 0 && fn !== 0) {
        fn /= 2;
        sn = Math.floor(sn / 2);
      }
    } else {
      hash = nodeHash(hash, sibling);
    }
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  return sn === 0 && sameHash(hash, tree.root);
}

/** An empty tree is consistent with every tree; its proof is empty. */
export function verifyConsistency(older: TreeHead, newer: TreeHead, proof: readonly TreeHash[]): boolean {
  if (!isSize(older.size) || !isSize(newer.size) || older.size > newer.size || proof.length > MAX_PROOF_HASHES) return false;
  if (!areHashes([older.root, newer.root, ...proof])) return false;
  if (older.size === newer.size) return proof.length === 0 && sameHash(older.root, newer.root);
  if (older.size === 0) return proof.length === 0 && sameHash(older.root, emptyRoot());
  let fn = older.size - 1;
  let sn = newer.size - 1;
  while (fn % 2 === 1) {
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  // A tree of a power of two of leaves is itself the first node, and is not repeated in the proof.
  const [first, ...rest] = fn === 0 ? [older.root, ...proof] : proof;
  if (first === undefined) return false;
  let fr = first;
  let sr = first;
  for (const hash of rest) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      fr = nodeHash(hash, fr);
      sr = nodeHash(hash, sr);
      while (fn % 2 === 0 && fn !== 0) {
        fn /= 2;
        sn = Math.floor(sn / 2);
      }
    } else {
      sr = nodeHash(sr, hash);
    }
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  return sn === 0 && sameHash(fr, older.root) && sameHash(sr, newer.root);
}
