/** Row 8: proofs in a large log: how long they are, to make from tiles on disk, and to check in Node, a browser and Go. */
import { EMPTY_TREE, growTree, rootOf } from '@lockstep/protocol/merkle/growing-tree';
import { HASH_BYTES, type TreeHash } from '@lockstep/protocol/merkle/hash';
import type { TreeHead } from '@lockstep/protocol/merkle/proof';
import { folderSource, type LogSource } from '@lockstep/log/source/log-source';
import { proveConsistency, proveInclusion, rootOfSource } from '@lockstep/log/source/tree-reader';
import { chromiumTimes } from '../chromium.ts';
import { type FigureRow, figureRow, meterSideBySide } from '../figures.ts';
import { type GoTimes, goTimes } from '../go.ts';
import { leavesFrom, writeLargeTree } from '../large-tree.ts';
import { BenchError, type Checkpoint } from '../measure.ts';
import type { Place } from '../place.ts';
import { type ProofTimes, timeProofs, type WrittenProofs } from '../proof-times.ts';

const SIZE = 10_000_000;
const PROOFS = 1000;
/** What is grown in every run, here and in Go. */
const GROWN = 262_144;

export async function proofs(place: Place, runs: number, checkpoint: Checkpoint): Promise<FigureRow[]> {
  const folder = place.folder('proofs');
  try {
    process.stderr.write(`  making ${SIZE / 1e6} million leaves and their tiles\n`);
    const start = performance.now();
    const tree = await writeLargeTree(folder, SIZE, checkpoint);
    const seconds = (performance.now() - start) / 1000;
    process.stderr.write(`  made in ${seconds.toFixed(1)} s; ${PROOFS} proofs of each kind, the browser’s bundle, the Go program\n`);
    const places = somePlaces();
    const source = folderSource(folder);
    const written = await writeProofs(source, tree, places);
    const leaves = leavesFrom(0, GROWN);
    const root = base64(rootOf(growTree(EMPTY_TREE, leaves).edge));
    const chromium = await chromiumTimes(folder, written);
    const go = goTimes(folder, written, GROWN);
    const metered = await meterSideBySide(
      [
        {
          name: 'Lockstep in Node',
          take: async () => ({ ...(await makeTimes(source, places)), ...ours(written), growth: growthOf(leaves) }),
        },
        { name: 'Lockstep in chromium', take: chromium === null ? null : async () => Promise.resolve({ ...chromium() }) },
        { name: 'Go’s `tlog`', take: go === null ? null : async () => Promise.resolve(rates(go(), root)) },
      ],
      runs,
      checkpoint,
    );
    const sizes = (kind: 'inclusion' | 'consistency', unit: 'hashes' | 'bytes'): FigureRow['figures'][number] => ({
      name: `${PROOFS.toLocaleString('en-US')} of them at random places`,
      unit,
      values: written[kind].map((one) => one.proof.length * (unit === 'bytes' ? HASH_BYTES : 1)),
    });
    const ofKind = (kind: 'inclusion' | 'consistency', title: string): FigureRow[] => [
      { title: `${title} at 10 million entries`, figures: [sizes(kind, 'hashes')] },
      { title: '… in bytes', figures: [sizes(kind, 'bytes')] },
      figureRow('… made, from tiles on disk (cached by the kernel)', 'µs', metered.slice(0, 1), `${kind} made`),
      figureRow('… checked', 'µs', metered, kind),
    ];
    return [
      ...ofKind('inclusion', 'Inclusion proof'),
      ...ofKind('consistency', 'Consistency proof'),
      figureRow('Leaf hashes added to a tree, with its tiles', '/s', [metered[0]!, metered[2]!], 'growth'),
      { title: 'The tree of 10 million, tiles written', figures: [{ name: 'Lockstep in Node', unit: 's', values: [seconds] }] },
    ];
  } finally {
    place.drop(folder);
  }
}

/** The same in every run: multiples of a number that has no factor in common with the size. */
function somePlaces(): number[] {
  return Array.from({ length: PROOFS }, (_, at) => 1 + ((at * 7_654_321) % (SIZE - 1)));
}

const base64 = (hash: TreeHash): string => Buffer.from(hash).toString('base64');

async function writeProofs(source: LogSource, tree: TreeHead, places: readonly number[]): Promise<WrittenProofs> {
  const inclusion: WrittenProofs['inclusion'][number][] = [];
  const consistency: WrittenProofs['consistency'][number][] = [];
  for (const place of places) {
    const proof = await proveInclusion(source, place, tree.size);
    inclusion.push({ index: place, leaf: base64(leavesFrom(place, 1)[0]!), proof: proof.map(base64) });
    const root = await rootOfSource(source, place);
    if (root === null) throw new BenchError(`the tree of ${place} has no root`);
    consistency.push({ from: place, root: base64(root), proof: (await proveConsistency(source, place, tree.size)).map(base64) });
  }
  return { size: tree.size, root: base64(tree.root), inclusion, consistency };
}

/** Microseconds for one. */
async function makeTimes(source: LogSource, places: readonly number[]): Promise<Record<string, number>> {
  const start = performance.now();
  for (const place of places) await proveInclusion(source, place, SIZE);
  const between = performance.now();
  for (const place of places) await proveConsistency(source, place, SIZE);
  const end = performance.now();
  const each = 1000 / places.length;
  return { 'inclusion made': (between - start) * each, 'consistency made': (end - between) * each };
}

function ours(written: WrittenProofs): ProofTimes {
  const times = timeProofs(written);
  if (times === null) throw new BenchError('a proof does not hold, or a wrong one does');
  return times;
}

function growthOf(leaves: readonly TreeHash[]): number {
  const start = performance.now();
  growTree(EMPTY_TREE, leaves);
  return (leaves.length / (performance.now() - start)) * 1000;
}

function rates(times: GoTimes, root: string): Record<string, number> {
  if (times.root !== root) throw new BenchError('Go has another root for the same leaves');
  return { inclusion: times.inclusion, consistency: times.consistency, growth: times.growth };
}
