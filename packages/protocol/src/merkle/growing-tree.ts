/**
 * A tree that grows on the right, kept as its right edge: the partial tile of each level. Enough to compute every new
 * tile and the root without reading what is left of the edge.
 */
import { emptyRoot, HASH_BYTES, type TreeHash } from './hash.ts';
import { foldRight, hashOfHashes, newTiles, TILE_WIDTH, tilePath } from './tile.ts';

export interface TreeEdge {
  readonly size: number;
  /** For each level the hashes of its partial tile, 0 to 255. */
  readonly levels: readonly (readonly TreeHash[])[];
}

export const EMPTY_TREE: TreeEdge = { size: 0, levels: [] };

export interface Growth {
  readonly edge: TreeEdge;
  /** Bytes of every tile of hashes that is new or wider than before, by path. */
  readonly tiles: ReadonlyMap<string, Uint8Array>;
}

export function growTree(edge: TreeEdge, leaves: readonly TreeHash[]): Growth {
  const levels = edge.levels.map((hashes) => [...hashes]);
  const full = new Map<string, Uint8Array>();
  const starts = levels.map((_, level) => Math.floor(edge.size / TILE_WIDTH ** (level + 1)));
  const push = (level: number, hash: TreeHash): void => {
    const row = (levels[level] ??= []);
    row.push(hash);
    if (row.length < TILE_WIDTH) return;
    const bytes = concatenate(row);
    const index = starts[level] ?? 0;
    full.set(tilePath({ level, index, width: TILE_WIDTH }), bytes);
    starts[level] = index + 1;
    levels[level] = [];
    push(level + 1, hashOfHashes(bytes));
  };
  for (const leaf of leaves) push(0, leaf);
  const grown: TreeEdge = { size: edge.size + leaves.length, levels };
  const tiles = new Map<string, Uint8Array>();
  for (const tile of newTiles(edge.size, grown.size)) {
    if (tile.level === 'entries') continue;
    const bytes = tile.width === TILE_WIDTH ? full.get(tilePath(tile)) : concatenate(levels[tile.level] ?? []);
    if (bytes === undefined) throw new TypeError(`tile ${tilePath(tile)} was not made`);
    tiles.set(tilePath(tile), bytes);
  }
  return { edge: grown, tiles };
}

export function rootOf(edge: TreeEdge): TreeHash {
  if (edge.size === 0) return emptyRoot();
  const parts = [...edge.levels].reverse().flatMap((row) => completeParts(row));
  return foldRight(parts);
}

/** The hashes of a partial tile, joined to the largest complete subtrees from the left. */
function completeParts(row: readonly TreeHash[]): TreeHash[] {
  const parts: TreeHash[] = [];
  let at = 0;
  for (let width = TILE_WIDTH / 2; width >= 1; width /= 2) {
    if (row.length - at < width) continue;
    parts.push(hashOfHashes(concatenate(row.slice(at, at + width))));
    at += width;
  }
  return parts;
}

function concatenate(hashes: readonly TreeHash[]): Uint8Array {
  const out = new Uint8Array(hashes.length * HASH_BYTES);
  for (const [index, hash] of hashes.entries()) out.set(hash, index * HASH_BYTES);
  return out;
}
