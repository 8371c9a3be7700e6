/**
 * Which subtrees a proof is made of. A range [start, end) of leaves stands for its Merkle tree hash; sizes are whole
 * numbers up to 2^53 - 1, so nothing here uses 32-bit operators.
 */
export interface LeafRange {
  readonly start: number;
  readonly end: number;
}

/** A subtree of 2^height leaves that begins at `index * 2^height`. */
export interface CompleteSubtree {
  readonly height: number;
  readonly index: number;
}

/** Largest power of two smaller than `size`, which is at least 2 (RFC 6962 section 2.1). */
function splitPoint(size: number): number {
  let power = 1;
  while (power * 2 < size) power *= 2;
  return power;
}

/** Siblings from the leaf to the root: PATH(index, D[size]) of RFC 6962 section 2.1.1. */
export function inclusionRanges(index: number, size: number): LeafRange[] {
  const path: LeafRange[] = [];
  let start = 0;
  let end = size;
  while (end - start > 1) {
    const middle = start + splitPoint(end - start);
    if (index < middle) {
      path.push({ start: middle, end });
      end = middle;
    } else {
      path.push({ start, end: middle });
      start = middle;
    }
  }
  return path.reverse();
}

/** PROOF(from, D[to]) of RFC 6962 section 2.1.2; empty when from is 0 or the sizes are the same. */
export function consistencyRanges(from: number, to: number): LeafRange[] {
  if (from === 0 || from === to) return [];
  const path: LeafRange[] = [];
  let start = 0;
  let end = to;
  // Whether the subtree that is left is one that the older tree had as a whole, from its first leaf on.
  let known = true;
  while (from !== end) {
    const middle = start + splitPoint(end - start);
    if (from <= middle) {
      path.push({ start: middle, end });
      end = middle;
    } else {
      path.push({ start, end: middle });
      start = middle;
      known = false;
    }
  }
  if (!known) path.push({ start, end });
  return path.reverse();
}

/** The complete subtrees, from left to right, that make up a range of a proof; the last ones are smaller on the right edge. */
export function completeSubtrees(range: LeafRange): CompleteSubtree[] {
  const found: CompleteSubtree[] = [];
  let at = range.start;
  while (at < range.end) {
    let height = 0;
    let width = 1;
    while (at % (width * 2) === 0 && at + width * 2 <= range.end) {
      width *= 2;
      height++;
    }
    found.push({ height, index: at / width });
    at += width;
  }
  return found;
}
