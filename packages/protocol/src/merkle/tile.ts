/** C2SP tlog-tiles: a tree as files of up to 256 hashes, and its entries as bundles of up to 256. */
import { HASH_BYTES, nodeHash, type TreeHash } from './hash.ts';
import { type CompleteSubtree, completeSubtrees, type LeafRange } from './range.ts';

export const TILE_WIDTH = 256;
const TILE_HEIGHT = 8;
/** 256^6 is above 2^47 entries. */
const MAX_LEVEL = 6;

export interface Tile {
  readonly level: number | 'entries';
  readonly index: number;
  /** 1 to 256; below 256 the tile is partial. */
  readonly width: number;
}

/** "Merkle Tree": `tile/<L>/<N>[.p/<W>]`; N in groups of three digits, all but the last with an `x` before it. */
export function tilePath(tile: Tile): string {
  const digits = String(tile.index);
  const padded = digits.padStart(Math.ceil(digits.length / 3) * 3, '0');
  const groups = padded.match(/.{3}/g) ?? [];
  const name = groups.map((group, at) => (at === groups.length - 1 ? group : `x${group}`)).join('/');
  return `tile/${tile.level}/${name}${tile.width === TILE_WIDTH ? '' : `.p/${tile.width}`}`;
}

/** null when it is not the one way to write a tile's path. */
export function parseTilePath(path: string): Tile | null {
  const match = /^tile\/(entries|[0-9])\/((?:x[0-9]{3}\/){0,4}[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/.exec(path);
  if (match === null) return null;
  const level = match[1] === 'entries' ? 'entries' : Number(match[1]);
  const index = Number((match[2] ?? '').replace(/[x/]/g, ''));
  const tile: Tile = { level, index, width: match[3] === undefined ? TILE_WIDTH : Number(match[3]) };
  if (tile.width > TILE_WIDTH || (level !== 'entries' && level > MAX_LEVEL)) return null;
  return tilePath(tile) === path ? tile : null;
}

/** Hashes at a level of a tree: one for each full tile below, and at level 0 one for each leaf. */
export function hashesAtLevel(level: number, size: number): number {
  return Math.floor(size / TILE_WIDTH ** level);
}

/** The tile that holds the hash `at` of a level, as it is in a tree of `size`. */
export function tileOfHash(level: number, at: number, size: number): Tile {
  const index = Math.floor(at / TILE_WIDTH);
  return { level, index, width: Math.min(TILE_WIDTH, hashesAtLevel(level, size) - index * TILE_WIDTH) };
}

/** Every tile of hashes, and every bundle of entries, that a tree of `size` has and one of `from` had not, lowest level first. */
export function* newTiles(from: number, size: number): Generator<Tile> {
  for (const level of ['entries', 0, 1, 2, 3, 4, 5, 6] as const) {
    const height = level === 'entries' ? 0 : level;
    const hashes = hashesAtLevel(height, size);
    const had = hashesAtLevel(height, from);
    if (hashes === had) continue;
    for (let index = Math.floor(had / TILE_WIDTH); index * TILE_WIDTH < hashes; index++)
      yield { level, index, width: Math.min(TILE_WIDTH, hashes - index * TILE_WIDTH) };
  }
}

/** Where the hash of a complete subtree is to be had: `count` neighbouring hashes of one tile. */
function placeOf(subtree: CompleteSubtree): { level: number; at: number; count: number } {
  const level = Math.min(Math.floor(subtree.height / TILE_HEIGHT), MAX_LEVEL);
  const count = 2 ** (subtree.height - level * TILE_HEIGHT);
  return { level, at: subtree.index * count, count };
}

/** The tiles that hashing these ranges of a tree of `size` reads, each once. */
export function tilesForRanges(ranges: readonly LeafRange[], size: number): Tile[] {
  const found = new Map<string, Tile>();
  for (const subtree of ranges.flatMap(completeSubtrees)) {
    const { level, at } = placeOf(subtree);
    const tile = tileOfHash(level, at, size);
    found.set(tilePath(tile), tile);
  }
  return [...found.values()];
}

/** Tiles by path. @throws TypeError when a tile that `tilesForRanges` names is not there or too short */
export function hashRange(range: LeafRange, size: number, tiles: ReadonlyMap<string, Uint8Array>): TreeHash {
  const hashes = completeSubtrees(range).map((subtree) => {
    const { level, at, count } = placeOf(subtree);
    const tile = tileOfHash(level, at, size);
    const bytes = tiles.get(tilePath(tile));
    const offset = (at % TILE_WIDTH) * HASH_BYTES;
    if (bytes === undefined || bytes.length !== tile.width * HASH_BYTES || offset + count * HASH_BYTES > bytes.length)
      throw new TypeError(`tile ${tilePath(tile)} is missing or has another size`);
    return hashOfHashes(bytes.subarray(offset, offset + count * HASH_BYTES));
  });
  return foldRight(hashes);
}

/** The root of a full binary tree over 1, 2, 4, … hashes that follow each other. */
export function hashOfHashes(bytes: Uint8Array): TreeHash {
  let row: TreeHash[] = [];
  for (let at = 0; at < bytes.length; at += HASH_BYTES) row.push(bytes.slice(at, at + HASH_BYTES));
  while (row.length > 1) {
    const above: TreeHash[] = [];
    for (let at = 0; at + 1 < row.length; at += 2) above.push(nodeHash(row[at] ?? EMPTY, row[at + 1] ?? EMPTY));
    row = above;
  }
  return row[0] ?? EMPTY;
}

const EMPTY = new Uint8Array(HASH_BYTES);

/** RFC 6962 section 2.1: what is left of the largest complete subtree is hashed first. */
export function foldRight(hashes: readonly TreeHash[]): TreeHash {
  return hashes.slice(0, -1).reduceRight((right, left) => nodeHash(left, right), hashes.at(-1) ?? EMPTY);
}
