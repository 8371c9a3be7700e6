/** Hundreds of readers of one live transcript: a builder appends over HTTPS, and each of them gets it as server-sent events. */
import { type ChildProcess, fork } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { tracked } from '../children.ts';
import { type FigureRow, figureRow, type Meter, meterSideBySide, percentile } from '../figures.ts';
import { builderlessFarm, connectBuilder, connectSubmitter, type HeldLease, leaseOne, oneDefinition } from '../held-lease.ts';
import { BenchError, type Checkpoint } from '../measure.ts';
import type { Place } from '../place.ts';
import { type RunningFarm, startFarm } from '../running-farm.ts';
import type { FarmClient } from '@lockstep/api/client';

export type FollowersAsked =
  | {
      readonly ask: 'follow';
      readonly url: string;
      readonly authority: string;
      readonly token: string;
      readonly attempt: number;
      readonly from: number;
      readonly followers: number;
      /** Bytes of a line; the first twenty of them are a time in nanoseconds. */
      readonly line: number;
    }
  | { readonly ask: 'count'; readonly reset: boolean };

export type FollowersTold =
  | { readonly tell: 'following' }
  | { readonly tell: 'counted'; readonly events: number; readonly bytes: number; readonly latencies: readonly number[] }
  | { readonly tell: 'failed'; readonly why: string };

type Counted = FollowersTold & { readonly tell: 'counted' };

const FOLLOWERS = Number(process.env['LOCKSTEP_BENCH_FOLLOWERS'] ?? 300);
const PROCESSES = 2;
const LINE = 100;
/** A builder sends every 150 ms what its build printed meanwhile: some seven times a second. */
const A_SECOND = 7;
const LINES_AT_ONCE = 5;
/** Milliseconds. */
const WARM_UP = 1500;
const MEASURED = 8000;
const ARRIVES_WITHIN = 30_000;
const LOOK_EVERY = 25;

export async function farmFollowers(place: Place, runs: number, checkpoint: Checkpoint): Promise<FigureRow[]> {
  const folder = place.folder('farm-followers');
  const crews: Crew[] = [];
  const open: { close(): void }[] = [];
  const farm = await startFarm(builderlessFarm(place.folder('farm-followers/sqlite')));
  try {
    const submitter = await connectSubmitter(farm, 'submitter');
    open.push(submitter);
    const builder = await connectBuilder(farm);
    open.push(builder);
    const lease = await leaseOne(submitter.client, builder.client, oneDefinition('followed', null));
    const alone = farm.memory().resident;
    for (let at = 0; at < PROCESSES; at++) crews.push(startCrew());
    const { url, authority } = farm;
    const asked = { ask: 'follow', url, authority, token: submitter.token, attempt: lease.attempt, from: 0, line: LINE } as const;
    await Promise.all(crews.map((crew) => crew.ask({ ...asked, followers: FOLLOWERS / PROCESSES })));
    const writer = appender(builder.client, lease);
    const through = (pause: number) => (run: number) => measure(farm, crews, writer, pause, run === 0 ? WARM_UP : MEASURED, alone);
    const meters: Meter[] = [
      { name: `a builder’s pace: ${A_SECOND} appends a second of ${LINES_AT_ONCE * LINE} bytes`, take: through(1000 / A_SECOND) },
      { name: 'append after append, as fast as the farm answers', take: through(0) },
    ];
    const metered = await meterSideBySide(meters, runs, checkpoint);
    return [
      figureRow(`Events to ${FOLLOWERS} followers of one live transcript over HTTPS`, '/s', metered, 'events'),
      figureRow('… appends', '/s', metered, 'appends'),
      figureRow('… from the append to a follower, half of them within', 'ms', metered, 'p50'),
      figureRow('… 99 of 100 within', 'ms', metered, 'p99'),
      figureRow('… CPU time of the farm’s process for a thousand events', 'ms', metered, 'cpu'),
      figureRow('… resident memory of the farm’s process', 'MiB', metered, 'resident'),
      figureRow('… of it since before they came', 'MiB', metered, 'grown'),
    ];
  } finally {
    for (const crew of crews) crew.stop();
    for (const one of open) one.close();
    await farm.stop();
    place.drop(folder);
  }
}

interface Writer {
  /** @returns when it was acknowledged */
  append(): Promise<void>;
  readonly written: () => number;
}

function appender(client: FarmClient, { attempt, headers }: HeldLease): Writer {
  let offset = 0;
  return {
    async append() {
      const now = String(process.hrtime.bigint()).padStart(20, '0');
      const body = Buffer.from(`${now}${'.'.repeat(LINE - 21)}\n`.repeat(LINES_AT_ONCE));
      const { next } = await client.call('appendTranscript', {
        params: { attempt: String(attempt), offset: String(offset) },
        headers,
        body,
      });
      offset = next;
    },
    written: () => offset,
  };
}

async function measure(
  farm: RunningFarm,
  crews: readonly Crew[],
  writer: Writer,
  pause: number,
  milliseconds: number,
  alone: number,
): Promise<Record<string, number>> {
  const [before, cpu, from] = [performance.now(), farm.cpu(), writer.written()];
  let appends = 0;
  for (let next = before; performance.now() - before < milliseconds; next += pause) {
    if (pause > 0) await sleep(Math.max(0, next - performance.now()));
    await writer.append();
    appends++;
  }
  const seconds = (performance.now() - before) / 1000;
  const counted = await all(crews, (writer.written() - from) * FOLLOWERS);
  const until = (performance.now() - before) / 1000;
  const events = counted.reduce((sum, one) => sum + one.events, 0);
  const latencies = counted.flatMap((one) => one.latencies);
  const { resident } = farm.memory();
  return {
    // What arrived late counts against it.
    events: events / until,
    appends: appends / seconds,
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    cpu: ((farm.cpu() - cpu) * 1e6) / events,
    resident: resident / 2 ** 20,
    grown: (resident - alone) / 2 ** 20,
  };
}

/** When every follower has every byte. */
async function all(crews: readonly Crew[], expected: number): Promise<Counted[]> {
  for (const until = performance.now() + ARRIVES_WITHIN; ; await sleep(LOOK_EVERY)) {
    const told = (await Promise.all(crews.map((crew) => crew.ask({ ask: 'count', reset: false })))) as Counted[];
    const bytes = told.reduce((sum, one) => sum + one.bytes, 0);
    if (bytes > expected) throw new BenchError(`${bytes} bytes arrived of ${expected}`);
    if (bytes === expected) return (await Promise.all(crews.map((crew) => crew.ask({ ask: 'count', reset: true })))) as Counted[];
    if (performance.now() > until) throw new BenchError(`only ${bytes} of ${expected} bytes arrived`);
  }
}

interface Crew {
  ask(what: FollowersAsked): Promise<FollowersTold>;
  stop(): void;
}

function startCrew(): Crew {
  const child: ChildProcess = tracked(
    fork(`${import.meta.dirname}/../followers-process.ts`, [], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      serialization: 'advanced',
    }),
  );
  let failed: string | null = null;
  let answered: { readonly resolve: (told: FollowersTold) => void; readonly reject: (error: Error) => void } | null = null;
  const fail = (why: string): void => {
    failed ??= why;
    answered?.reject(new BenchError(failed));
  };
  child.on('message', (told: FollowersTold) => {
    if (told.tell === 'failed') fail(told.why);
    else answered?.resolve(told);
  });
  child.once('exit', (status) => fail(`a process of followers ended with status ${status}`));
  return {
    ask: (what) =>
      new Promise((resolve, reject) => {
        answered = { resolve, reject };
        if (failed === null) child.send(what);
        else reject(new BenchError(failed));
      }),
    stop() {
      child.removeAllListeners('exit');
      child.kill('SIGKILL');
    },
  };
}
