/** Row 7: durable appends to a log, alone and with a witness, beside what the same disk makes durable one by one. */
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { initLog } from '@lockstep/log/sequence/log-home';
import { openSequencer, type Sequencer } from '@lockstep/log/sequence/sequencer';
import type { CheckedSubmission } from '@lockstep/log/sequence/submission';
import { httpWitnesses } from '@lockstep/log/witness/client';
import { smallDocuments } from '../documents.ts';
import { type FigureRow, figureRow, type Meter, meterSideBySide, percentile } from '../figures.ts';
import { type LocalWitness, startWitness } from '../local-witness.ts';
import { BenchError, type Checkpoint } from '../measure.ts';
import type { Place } from '../place.ts';

const DOCUMENTS = 10_000;
const WARM_UP = 1000;
const IN_FLIGHT = 2000;
const OFFERED_PER_SECOND = 2000;
const OFFERED = 4000;
const FSYNCS = 500;

export async function logAppend(place: Place, runs: number, checkpoint: Checkpoint): Promise<FigureRow[]> {
  const folder = place.folder('log-append');
  process.stderr.write(`  signing ${DOCUMENTS} documents\n`);
  const documents = smallDocuments(DOCUMENTS);
  const witness = await startWitness(`${folder}/witness`);
  try {
    const saturate = (with_: LocalWitness | null) => async (run: number) => {
      const given = run === 0 ? documents.slice(0, WARM_UP) : documents;
      return withLog(place, run, with_, (sequencer) => asFastAsPossible(sequencer, given));
    };
    const offer = (with_: LocalWitness | null) => async (run: number) => {
      const given = documents.slice(0, run === 0 ? WARM_UP : OFFERED);
      return withLog(place, run, with_, (sequencer) => atRate(sequencer, given));
    };
    const meters: Meter[] = [
      { name: 'a log, no witness', take: saturate(null) },
      { name: 'a log, one local witness (Ed25519 and ML-DSA-44)', take: saturate(witness) },
      { name: 'a bare loop: write 4 kB, `fsync`', take: (run) => Promise.resolve(bareFsync(`${folder}/bare-${run}`)) },
    ];
    const busy = await meterSideBySide(meters, runs, checkpoint);
    process.stderr.write(`  offered ${OFFERED_PER_SECOND} a second\n`);
    const steady = await meterSideBySide(
      [
        { name: 'a log, no witness', take: offer(null) },
        { name: 'a log, one local witness', take: offer(witness) },
      ],
      runs,
      checkpoint,
    );
    const many = DOCUMENTS.toLocaleString('en-US');
    const offered = `${OFFERED_PER_SECOND.toLocaleString('en-US')} offered a second`;
    return [
      figureRow(`Durable appends of ${many} documents of 1 kB, ${IN_FLIGHT.toLocaleString('en-US')} in flight`, '/s', busy, 'rate'),
      figureRow('… from append to published checkpoint, half of them within', 'ms', busy, 'p50'),
      figureRow('… 99 of 100 within', 'ms', busy, 'p99'),
      figureRow('… one `fsync` of the bare loop', 'ms', busy.slice(2), 'fsync p50'),
      figureRow(`The same with ${offered}: half of them within`, 'ms', steady, 'p50'),
      figureRow('… 99 of 100 within', 'ms', steady, 'p99'),
    ];
  } finally {
    witness.stop();
    place.drop(folder);
  }
}

let logs = 0;

async function withLog<T>(place: Place, run: number, witness: LocalWitness | null, act: (sequencer: Sequencer) => Promise<T>): Promise<T> {
  const root = place.folder(`log-append/log-${run}-${logs}`);
  const home = initLog(root, `log.example.org/bench-${logs++}`, witness?.policy ?? null);
  await witness?.follow(home.key);
  const client = home.witnesses === null ? null : httpWitnesses(home.witnesses, home.origin, home.source);
  const sequencer = await openSequencer(home, client);
  try {
    return await act(sequencer);
  } finally {
    // Its files stay until the end: what removing them writes would be in the way of the next.
    await sequencer.close();
  }
}

type Load = Readonly<Record<'rate' | 'p50' | 'p99', number>>;

/** Each client gives its next document as soon as the last one is published. */
async function asFastAsPossible(sequencer: Sequencer, documents: readonly CheckedSubmission[]): Promise<Load> {
  const latencies: number[] = [];
  const indexes = new Set<number>();
  let next = 0;
  const client = async (): Promise<void> => {
    while (next < documents.length) {
      const document = documents[next++]!;
      const start = performance.now();
      indexes.add(await sequencer.append(document));
      latencies.push(performance.now() - start);
    }
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: IN_FLIGHT }, client));
  return summary(latencies, indexes, documents.length, performance.now() - start);
}

/** Latency counts from when a document was due, not from when a busy process got round to giving it. */
async function atRate(sequencer: Sequencer, documents: readonly CheckedSubmission[]): Promise<Load> {
  const latencies: number[] = [];
  const indexes = new Set<number>();
  const appended: Promise<void>[] = [];
  const start = performance.now();
  for (let next = 0; next < documents.length; ) {
    const due = start + (next * 1000) / OFFERED_PER_SECOND;
    if (performance.now() < due) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      continue;
    }
    const document = documents[next++]!;
    const append = async (): Promise<void> => {
      indexes.add(await sequencer.append(document));
      latencies.push(performance.now() - due);
    };
    appended.push(append());
  }
  await Promise.all(appended);
  return summary(latencies, indexes, documents.length, performance.now() - start);
}

function summary(latencies: readonly number[], indexes: ReadonlySet<number>, count: number, milliseconds: number): Load {
  if (indexes.size !== count || Math.max(...indexes) !== count - 1)
    throw new BenchError(`${indexes.size} of ${count} documents have a place`);
  return { rate: (count / milliseconds) * 1000, p50: percentile(latencies, 0.5), p99: percentile(latencies, 0.99) };
}

function bareFsync(path: string): Record<string, number> {
  const bytes = Buffer.alloc(4096, 1);
  const fd = openSync(path, 'wx');
  const latencies: number[] = [];
  try {
    const start = performance.now();
    for (let count = 0; count < FSYNCS; count++) {
      const before = performance.now();
      writeSync(fd, bytes);
      fsyncSync(fd);
      latencies.push(performance.now() - before);
    }
    const rate = (FSYNCS / (performance.now() - start)) * 1000;
    return { rate, 'fsync p50': percentile(latencies, 0.5), 'fsync p99': percentile(latencies, 0.99) };
  } finally {
    closeSync(fd);
  }
}
