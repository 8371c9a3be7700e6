/** The right edge of a tree at some size, read from its tiles and checked against the root that was accepted for it. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { HASH_BYTES, sameHash, type TreeHash } from '@lockstep/protocol/merkle/hash';
import { rootOf, type TreeEdge } from '@lockstep/protocol/merkle/growing-tree';
import type { TreeHead } from '@lockstep/protocol/merkle/proof';
import { hashesAtLevel, TILE_WIDTH, tileOfHash } from '@lockstep/protocol/merkle/tile';
import type { LogSource } from './log-source.ts';
import { readTile } from './tree-reader.ts';

/** @param newest size of the newest checkpoint. So that a monitor that was there before reads only what is new. @throws LockstepError LOG_CORRUPT */
export async function growFrom(source: LogSource, head: TreeHead, newest: number): Promise<TreeEdge> {
  const levels: TreeHash[][] = [];
  for (let level = 0; hashesAtLevel(level, head.size) > 0; level++) {
    const hashes = hashesAtLevel(level, head.size);
    const width = hashes % TILE_WIDTH;
    // The tile as it is in the newest tree: a mirror has not the partial tiles of sizes that it never saw.
    const bytes = width === 0 ? new Uint8Array(0) : await readTile(source, tileOfHash(level, hashes - 1, newest));
    levels.push(Array.from({ length: width }, (_, at) => bytes.slice(at * HASH_BYTES, (at + 1) * HASH_BYTES)));
  }
  const edge = { size: head.size, levels };
  if (!sameHash(rootOf(edge), head.root))
    throw new LockstepError(
      'LOG_CORRUPT',
      `${source.name}: the tiles at size ${head.size} do not hash to the root that was accepted for it`,
      'Start again from the beginning (without a saved checkpoint), or get the log from a mirror.',
    );
  return edge;
}
