/** Times whole processes side by side: A B A B …, so that a change of the machine's mood meets all of them alike. */
import { spawnSync } from 'node:child_process';
import { findProgram } from './place.ts';

export interface Command {
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export interface Contestant {
  readonly name: string;
  /** Programs of the host without which it cannot take part. */
  readonly needs: readonly string[];
  /** What is timed, made anew for every run; what it takes to make it is not timed. */
  readonly command: (run: number) => Command;
  /** After every run, not timed. */
  readonly after?: () => void;
}

export interface Timed {
  readonly name: string;
  /** Milliseconds, one per run; null when a program is not installed. */
  readonly times: readonly number[] | null;
}

export class BenchError extends Error {}

/** A signal is only heard between two synchronous runs: look for it there. */
export type Checkpoint = () => Promise<void>;

export async function sideBySide(contestants: readonly Contestant[], runs: number, checkpoint: Checkpoint): Promise<Timed[]> {
  const able = contestants.filter((one) => one.needs.every((name) => findProgram(name) !== null));
  const times = new Map<Contestant, number[]>(able.map((one) => [one, []]));
  // Run 0 is the warm-up.
  for (let run = 0; run <= runs; run++) {
    for (const one of able) {
      await checkpoint();
      const command = one.command(run);
      try {
        const milliseconds = timed(command);
        if (run > 0) times.get(one)?.push(milliseconds);
        process.stderr.write(`  ${run === 0 ? 'warm-up' : `run ${run}`}: ${one.name}: ${milliseconds.toFixed(0)} ms\n`);
      } finally {
        one.after?.();
      }
    }
  }
  return contestants.map((one) => ({ name: one.name, times: times.get(one) ?? null }));
}

function timed(command: Command): number {
  const before = process.hrtime.bigint();
  const done = start(command, 'ignore');
  const after = process.hrtime.bigint();
  refuseFailure(command, done);
  return Number(after - before) / 1e6;
}

/** Runs something that is not timed. @returns what it printed */
export function must(command: Command): string {
  const done = start(command, 'pipe');
  refuseFailure(command, done);
  return done.stdout;
}

interface Done {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly error?: Error;
}

function start(command: Command, stdout: 'ignore' | 'pipe'): Done {
  const [program = '', ...args] = command.argv;
  return spawnSync(program, args, {
    stdio: ['ignore', stdout, 'pipe'],
    encoding: 'utf8',
    maxBuffer: 256 << 20,
    env: { ...process.env, ...command.env },
    ...(command.cwd === undefined ? {} : { cwd: command.cwd }),
  });
}

function refuseFailure(command: Command, done: Done): void {
  if (done.status === 0) return;
  const said = (done.error?.message ?? done.stderr ?? '').trim().slice(-2000);
  throw new BenchError(`status ${done.status}: ${command.argv.join(' ').slice(0, 300)}\n${said}`);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}
