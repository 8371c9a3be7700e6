/** Reads entries from where one stood, hashes them again, and holds every tile against what the entries hash to. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { leafHash, sameHash, type TreeHash } from '@lockstep/protocol/merkle/hash';
import { growTree, rootOf, type TreeEdge } from '@lockstep/protocol/merkle/growing-tree';
import { parseTilePath, TILE_WIDTH } from '@lockstep/protocol/merkle/tile';
import type { TreeHead } from '@lockstep/protocol/merkle/proof';
import { eachAtMost, FILES_AT_ONCE } from '../files/each-at-most.ts';
import type { LogSource } from './log-source.ts';
import { readEntries, readTile } from './tree-reader.ts';

export interface ReplayedEntry {
  readonly index: number;
  readonly bytes: Uint8Array;
  readonly hash: TreeHash;
}

/** Entries that are hashed at once: full tiles are compared before more is read. */
const STRIDE = TILE_WIDTH * 16;
/** A bucket answers late; but a bundle may have 16 MiB, and its source may be anybody's. */
const BUNDLES_AT_ONCE = 8;

/**
 * @param onEntry is given every new entry, in order, before the tree is known to be the right one
 * @throws LockstepError LOG_CORRUPT when a stored byte differs; LOG_INCONSISTENT when the entries are not those of the checkpoint
 */
export async function replay(
  source: LogSource,
  from: TreeEdge,
  to: TreeHead,
  onEntry: (entry: ReplayedEntry) => void = () => undefined,
): Promise<TreeEdge> {
  let edge = from;
  while (edge.size < to.size) {
    const end = Math.min(to.size, (Math.floor(edge.size / STRIDE) + 1) * STRIDE);
    const hashes: TreeHash[] = [];
    const first = Math.floor(edge.size / TILE_WIDTH);
    const bundles = Array.from({ length: Math.ceil(end / TILE_WIDTH) - first }, (_, at) => first + at);
    for (let done = 0; done < bundles.length; done += BUNDLES_AT_ONCE)
      for (const { start, entries } of await readBundles(source, bundles.slice(done, done + BUNDLES_AT_ONCE), to.size))
        for (const [offset, bytes] of entries.entries()) {
          const at = start + offset;
          if (at < edge.size || at >= end) continue;
          const hash = leafHash(bytes);
          hashes.push(hash);
          onEntry({ index: at, bytes, hash });
        }
    const grown = growTree(edge, hashes);
    await eachAtMost(FILES_AT_ONCE, grown.tiles, async ([path, bytes]) => {
      const tile = parseTilePath(path);
      // A partial tile within the tree was never written, or may be gone.
      if (tile === null || (tile.width < TILE_WIDTH && end !== to.size)) return;
      if (!sameHash(await readTile(source, tile), bytes)) throw corrupt(source, path);
    });
    edge = grown.edge;
  }
  if (!sameHash(rootOf(edge), to.root))
    throw new LockstepError(
      'LOG_INCONSISTENT',
      `The entries of ${source.name} do not hash to the root that its checkpoint of size ${to.size} names`,
      'Do not rely on this log. Keep the checkpoint and the files: they prove it. Get the log from a mirror.',
    );
  return edge;
}

async function readBundles(
  source: LogSource,
  indexes: readonly number[],
  size: number,
): Promise<{ start: number; entries: readonly Uint8Array[] }[]> {
  return Promise.all(
    indexes.map(async (index) => {
      const start = index * TILE_WIDTH;
      return { start, entries: await readEntries(source, { level: 'entries', index, width: Math.min(TILE_WIDTH, size - start) }) };
    }),
  );
}

function corrupt(source: LogSource, path: string): LockstepError {
  return new LockstepError(
    'LOG_CORRUPT',
    `${source.name}: ${path} does not hold the hashes of its entries`,
    'Check the disk; restore the file from a backup or a mirror. Nothing is signed over it.',
  );
}
