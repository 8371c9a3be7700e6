/** A tree of many made-up leaves, its tiles on disk as a log leaves them; nothing of its entries. */
import { hash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { EMPTY_TREE, growTree, rootOf, type TreeEdge } from '@lockstep/protocol/merkle/growing-tree';
import type { TreeHash } from '@lockstep/protocol/merkle/hash';
import type { TreeHead } from '@lockstep/protocol/merkle/proof';
import type { Checkpoint } from './measure.ts';

const CHUNK = 65_536;

/** SHA-256 of the index as eight bytes. */
export function leafAt(index: number): TreeHash {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(index));
  return new Uint8Array(hash('sha256', counter, 'buffer'));
}

export interface LargeTree extends TreeHead {
  /** Leaves per second of growing it alone: tiles computed, not yet written. */
  readonly growth: number;
}

export async function writeLargeTree(folder: string, size: number, checkpoint: Checkpoint): Promise<LargeTree> {
  const made = new Set<string>();
  let edge: TreeEdge = EMPTY_TREE;
  let growing = 0;
  while (edge.size < size) {
    await checkpoint();
    const from = edge.size;
    const leaves = Array.from({ length: Math.min(CHUNK, size - from) }, (_, offset) => leafAt(from + offset));
    const start = performance.now();
    const grown = growTree(edge, leaves);
    growing += performance.now() - start;
    edge = grown.edge;
    for (const [path, bytes] of grown.tiles) {
      const parent = dirname(`${folder}/${path}`);
      if (!made.has(parent)) mkdirSync(parent, { recursive: true });
      made.add(parent);
      writeFileSync(`${folder}/${path}`, bytes);
    }
    if (Math.floor(from / 1e6) !== Math.floor(edge.size / 1e6)) process.stderr.write(`  ${Math.floor(edge.size / 1e6)} million leaves\n`);
  }
  return { size, root: rootOf(edge), growth: (size / growing) * 1000 };
}
