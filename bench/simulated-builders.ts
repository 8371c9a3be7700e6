/** A thousand builders in a few processes, each with a key and a certificate of its own, that lease and give back what they leased. */
import { type ChildProcess, fork } from 'node:child_process';
import type { FarmClient } from '@lockstep/api/client';
import type { Capabilities } from '@lockstep/api/routes/builders';
import { tracked } from './children.ts';
import { BenchError } from './measure.ts';
import { asOperator, type RunningFarm } from './running-farm.ts';

/** In PEM, as a builder keeps them. */
export interface BuilderKeys {
  readonly name: string;
  readonly attestationKey: string;
}

export type Asked =
  | { readonly ask: 'fingerprints'; readonly builders: readonly BuilderKeys[] }
  | { readonly ask: 'enrol'; readonly url: string; readonly authority: string; readonly tokens: readonly string[] }
  | { readonly ask: 'connect'; readonly url: string; readonly capabilities: Capabilities }
  | { readonly ask: 'work' }
  | { readonly ask: 'rest' };

export type Told =
  | { readonly tell: 'fingerprints'; readonly fingerprints: readonly string[] }
  | { readonly tell: 'done' }
  | { readonly tell: 'leased'; readonly total: number; readonly latencies: readonly number[] }
  | { readonly tell: 'failed'; readonly why: string };

export interface SimulatedBuilders {
  /** Each over the farm's enrolment route, with a token of its own. */
  enrol(farm: RunningFarm): Promise<void>;
  /** A connection for each, and what it can do announced. */
  connect(farm: RunningFarm): Promise<void>;
  /** Until `enough`, which is told how many leases there were since the beginning. Latencies of leasing in milliseconds. */
  work(enough: (total: number) => boolean): Promise<{ readonly latencies: readonly number[] }>;
  stop(): void;
}

export const CAPABILITIES: Capabilities = {
  architecture: 'amd64',
  tiers: ['container'],
  cpus: 64,
  cpuFeatures: ['sse2', 'avx2'],
  memoryMb: 1 << 20,
  limits: { memoryMb: 1 << 20, diskMb: 1 << 24, seconds: 86_400, cpus: 64 },
  variations: [],
  slots: 1,
  version: 'bench',
};
/** Milliseconds. */
const LOOK_EVERY = 20;
const ENOUGH_WITHIN = 120_000;
const TOKENS_AT_ONCE = 16;

export function simulateBuilders(builders: readonly BuilderKeys[], processes: number): SimulatedBuilders {
  const each = Math.ceil(builders.length / processes);
  const crews = Array.from({ length: processes }, (_, at) => startCrew(builders.slice(at * each, (at + 1) * each)));
  return {
    async enrol(farm) {
      await Promise.all(
        crews.map(async (crew) => {
          const told = await crew.ask({ ask: 'fingerprints', builders: crew.builders });
          if (told.tell !== 'fingerprints') throw new BenchError('no fingerprints');
          const tokens = await asOperator(farm, (client) => joinTokens(client, crew.builders, told.fingerprints));
          await crew.ask({ ask: 'enrol', url: farm.url, authority: farm.authority, tokens });
        }),
      );
    },
    async connect(farm) {
      await Promise.all(crews.map((crew) => crew.ask({ ask: 'connect', url: farm.url, capabilities: CAPABILITIES })));
    },
    async work(enough) {
      for (const crew of crews) crew.begin();
      const total = (): number => crews.reduce((sum, crew) => sum + crew.leased(), 0);
      for (const until = performance.now() + ENOUGH_WITHIN; !enough(total()); ) {
        await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY));
        const failed = crews.find((crew) => crew.failed() !== null)?.failed();
        if (failed != null) throw new BenchError(`a simulated builder failed: ${failed}`);
        if (performance.now() > until) throw new BenchError(`only ${total()} leases within ${ENOUGH_WITHIN / 1000} s`);
      }
      const latencies = crews.flatMap((crew) => crew.latencies());
      await Promise.all(crews.map((crew) => crew.ask({ ask: 'rest' })));
      return { latencies };
    },
    stop() {
      for (const crew of crews) crew.stop();
    },
  };
}

async function joinTokens(client: FarmClient, builders: readonly BuilderKeys[], fingerprints: readonly string[]): Promise<string[]> {
  const tokens: string[] = [];
  let next = 0;
  const one = async (): Promise<void> => {
    for (let at = next++; at < builders.length; at = next++) {
      const { token } = await client.call('makeJoinToken', { body: { name: builders[at]!.name, fingerprint: fingerprints[at]! } });
      tokens[at] = token;
    }
  };
  await Promise.all(Array.from({ length: TOKENS_AT_ONCE }, one));
  return tokens;
}

interface Crew {
  readonly builders: readonly BuilderKeys[];
  ask(what: Asked): Promise<Told>;
  begin(): void;
  leased(): number;
  latencies(): readonly number[];
  failed(): string | null;
  stop(): void;
}

function startCrew(builders: readonly BuilderKeys[]): Crew {
  const child: ChildProcess = tracked(
    fork(`${import.meta.dirname}/builders-process.ts`, [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] }),
  );
  let leased = 0;
  let latencies: number[] = [];
  let failed: string | null = null;
  let answered: { readonly resolve: (told: Told) => void; readonly reject: (error: Error) => void } | null = null;
  const fail = (why: string): void => {
    failed = why;
    answered?.reject(new BenchError(why));
  };
  child.on('message', (told: Told) => {
    if (told.tell === 'leased') {
      leased += told.total;
      latencies.push(...told.latencies);
    } else if (told.tell === 'failed') fail(told.why);
    else answered?.resolve(told);
  });
  child.once('exit', (status) => fail(`a process of simulated builders ended with status ${status}`));
  return {
    builders,
    ask: (what) =>
      new Promise((resolve, reject) => {
        answered = { resolve, reject };
        if (failed === null) child.send(what);
        else reject(new BenchError(failed));
      }),
    begin() {
      leased = 0;
      latencies = [];
      if (failed === null) child.send({ ask: 'work' } satisfies Asked);
    },
    leased: () => leased,
    latencies: () => latencies,
    failed: () => failed,
    stop() {
      child.removeAllListeners('exit');
      child.kill('SIGKILL');
    },
  };
}
