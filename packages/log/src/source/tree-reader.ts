/** Proofs and roots from the tiles of a log. Tiles are not believed: a proof made of them is checked against the checkpoint. */
import type { TreeHash } from '@lockstep/protocol/merkle/hash';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { consistencyRanges, inclusionRanges, type LeafRange } from '@lockstep/protocol/merkle/range';
import { hashRange, type Tile, TILE_WIDTH, tilePath, tilesForRanges } from '@lockstep/protocol/merkle/tile';
import { parseEntryBundle } from '@lockstep/protocol/merkle/entry-bundle';
import { type TreeHead, verifyConsistency } from '@lockstep/protocol/merkle/proof';
import { HASH_BYTES } from '@lockstep/protocol/merkle/hash';
import { type LogSource, MAX_BUNDLE_BYTES, MAX_TILE_BYTES } from './log-source.ts';

export async function proveInclusion(source: LogSource, index: number, size: number): Promise<TreeHash[]> {
  return hashesOf(source, inclusionRanges(index, size), size);
}

export async function proveConsistency(source: LogSource, from: number, to: number): Promise<TreeHash[]> {
  return hashesOf(source, consistencyRanges(from, to), to);
}

/** @throws LockstepError LOG_INCONSISTENT with the proof that does not hold; LOG_CORRUPT when tiles are missing */
export async function requireConsistent(source: LogSource, older: TreeHead, newer: TreeHead): Promise<void> {
  const proof = older.size > newer.size ? [] : await proveConsistency(source, older.size, newer.size);
  if (verifyConsistency(older, newer, proof)) return;
  throw new LockstepError(
    'LOG_INCONSISTENT',
    older.size > newer.size
      ? `${source.name} now has ${newer.size} entries, and had ${older.size}`
      : `${source.name} with ${newer.size} entries is not a continuation of what it was with ${older.size}`,
    'Keep both checkpoints: with the log’s signature on each they prove that it was rewritten. Tell others who rely on it.',
  );
}

export async function rootOfSource(source: LogSource, size: number): Promise<TreeHash | null> {
  const [root] = await hashesOf(source, [{ start: 0, end: size }], size);
  return root ?? null;
}

async function hashesOf(source: LogSource, ranges: readonly LeafRange[], size: number): Promise<TreeHash[]> {
  const tiles = new Map<string, Uint8Array>();
  await Promise.all(tilesForRanges(ranges, size).map(async (tile) => tiles.set(tilePath(tile), await readTile(source, tile))));
  return ranges.map((range) => hashRange(range, size, tiles));
}

/** A partial tile may be gone once the full one is there ("Partial Tiles"): then its first hashes are the same. */
export async function readTile(source: LogSource, tile: Tile): Promise<Uint8Array> {
  const wanted = tile.width * HASH_BYTES;
  const own = await source.read(tilePath(tile), MAX_TILE_BYTES);
  if (own !== null && own.length === wanted) return own;
  const full = tile.width === TILE_WIDTH ? null : await source.read(tilePath({ ...tile, width: TILE_WIDTH }), MAX_TILE_BYTES);
  if (full?.length === MAX_TILE_BYTES) return full.slice(0, wanted);
  throw missing(source, tile);
}

export async function readEntries(source: LogSource, tile: Tile): Promise<Uint8Array[]> {
  const own = await source.read(tilePath(tile), MAX_BUNDLE_BYTES);
  const entries = own === null ? null : parseEntryBundle(own, tile.width);
  if (entries !== null) return entries;
  const full = tile.width === TILE_WIDTH ? null : await source.read(tilePath({ ...tile, width: TILE_WIDTH }), MAX_BUNDLE_BYTES);
  const all = full === null ? null : parseEntryBundle(full, TILE_WIDTH);
  if (all !== null) return all.slice(0, tile.width);
  throw missing(source, tile);
}

function missing(source: LogSource, tile: Tile): LockstepError {
  return new LockstepError(
    'LOG_CORRUPT',
    `${source.name}: ${tilePath(tile)} is missing or damaged`,
    'Get it from a mirror (lockstep log mirror), or restore the log’s files from a backup.',
  );
}
