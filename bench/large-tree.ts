/** A tree of many made-up leaves, its tiles on disk as a log leaves them; nothing of its entries. */
import { createCipheriv } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { EMPTY_TREE, growTree, rootOf, type TreeEdge } from '@lockstep/protocol/merkle/growing-tree';
import { HASH_BYTES, type TreeHash } from '@lockstep/protocol/merkle/hash';
import type { TreeHead } from '@lockstep/protocol/merkle/proof';
import type { Checkpoint } from './measure.ts';

const CHUNK = 65_536;

/** Leaf hashes that look as random as real ones, and are had at any place at once: the AES-CTR stream of a key of zeros. */
export function leavesFrom(index: number, count: number): TreeHash[] {
  const counter = Buffer.alloc(16);
  counter.writeBigUInt64BE(BigInt(index) * 2n, 8);
  const stream = createCipheriv('aes-128-ctr', Buffer.alloc(16), counter).update(Buffer.alloc(count * HASH_BYTES));
  return Array.from({ length: count }, (_, at) => new Uint8Array(stream.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES)));
}

export async function writeLargeTree(folder: string, size: number, checkpoint: Checkpoint): Promise<TreeHead> {
  const made = new Set<string>();
  let edge: TreeEdge = EMPTY_TREE;
  while (edge.size < size) {
    await checkpoint();
    const from = edge.size;
    const leaves = leavesFrom(from, Math.min(CHUNK, size - from));
    const grown = growTree(edge, leaves);
    edge = grown.edge;
    for (const [path, bytes] of grown.tiles) {
      const parent = dirname(`${folder}/${path}`);
      if (!made.has(parent)) mkdirSync(parent, { recursive: true });
      made.add(parent);
      writeFileSync(`${folder}/${path}`, bytes);
    }
    if (Math.floor(from / 1e6) !== Math.floor(edge.size / 1e6)) process.stderr.write(`  ${Math.floor(edge.size / 1e6)} million leaves\n`);
  }
  return { size, root: rootOf(edge) };
}
