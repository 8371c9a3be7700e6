/** Trees for tests: grown as a log grows them, and proofs made of nothing but the tiles that each proof says it needs. */
import { toUtf8 } from '../bytes/utf8.ts';
import { EMPTY_TREE, growTree, rootOf } from './growing-tree.ts';
import { leafHash, type TreeHash } from './hash.ts';
import type { TreeHead } from './proof.ts';
import { consistencyRanges, inclusionRanges, type LeafRange } from './range.ts';
import { hashRange, tilePath, tilesForRanges } from './tile.ts';

export interface SampleTree extends TreeHead {
  readonly tiles: ReadonlyMap<string, Uint8Array>;
  proveInclusion(index: number): TreeHash[];
  /** From the tree of `from` leaves to this one. */
  proveConsistency(from: number): TreeHash[];
}

/** Leaves that are all different, so that no proof fits two places. */
export function sampleLeaves(count: number): TreeHash[] {
  return Array.from({ length: count }, (_, index) => leafHash(toUtf8(`leaf ${index}`)));
}

export function sampleTree(leaves: readonly TreeHash[]): SampleTree {
  const { edge, tiles } = growTree(EMPTY_TREE, leaves);
  const { size } = edge;
  const prove = (ranges: readonly LeafRange[]): TreeHash[] => {
    const read = new Map<string, Uint8Array>();
    for (const tile of tilesForRanges(ranges, size)) {
      const bytes = tiles.get(tilePath(tile));
      if (bytes !== undefined) read.set(tilePath(tile), bytes);
    }
    return ranges.map((range) => hashRange(range, size, read));
  };
  return {
    size,
    root: rootOf(edge),
    tiles,
    proveInclusion: (index) => prove(inclusionRanges(index, size)),
    proveConsistency: (from) => prove(consistencyRanges(from, size)),
  };
}
