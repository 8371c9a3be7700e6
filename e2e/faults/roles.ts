/** Processes of a test: started, told to die, waited for, started again. Each ends with this process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Order, Phase } from './trap.ts';

/** What a builder's process is told, in a file. */
export interface BuilderConfig {
  readonly name: string;
  readonly url: string;
  readonly authority: string;
  readonly certificate: string;
  readonly keyFile: string;
  readonly store: string;
  readonly slots: number;
  /** A line for each lease that it was given. */
  readonly leases: string;
}

export interface Role {
  readonly name: string;
  readonly log: string;
  /** Until it says that it is there. @returns what it said */
  start(): Promise<Record<string, unknown>>;
  arm(step: string, phase: Phase, skip?: number): Promise<void>;
  say(order: Order): Promise<void>;
  /** Resolves when it has ended; false when it has not within the time. */
  ended(milliseconds: number): Promise<boolean>;
  kill(): Promise<void>;
  pid(): number | undefined;
  isRunning(): boolean;
}

const READY_WITHIN = 30_000;

/** @param command what is executed before Node: to enter a network namespace */
export function role(
  name: string,
  script: string,
  args: readonly string[],
  log: string,
  env: Readonly<Record<string, string>> = {},
  command: readonly string[] = [],
): Role {
  let child: ChildProcess | null = null;
  const isRunning = (): boolean => child !== null && child.exitCode === null && child.signalCode === null;
  const say = async (order: Order): Promise<void> => {
    const to = child;
    if (to === null || !isRunning()) throw new Error(`${name} does not run`);
    await new Promise<void>((resolve, reject) => {
      to.once('message', () => resolve());
      to.once('exit', () => reject(new Error(`${name} has ended before it heard`)));
      to.send(order, (error) => {
        if (error !== null) reject(error);
      });
    });
  };
  const ended = async (milliseconds: number): Promise<boolean> => {
    const until = Date.now() + milliseconds;
    while (isRunning() && Date.now() < until) await delay(10);
    return !isRunning();
  };
  return {
    name,
    log,
    async start() {
      const file = openSync(log, 'a');
      const [program = '', ...rest] = [...command, process.execPath, `${import.meta.dirname}/${script}`, ...args];
      const started = spawn(program, rest, { stdio: ['ignore', file, file, 'ipc'], env: { ...process.env, ...env } });
      closeSync(file);
      child = started;
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`${name} was not ready in time; see ${log}`)), READY_WITHIN);
        started.once('message', (message) => {
          clearTimeout(timer);
          resolve(message as Record<string, unknown>);
        });
        started.once('exit', () => {
          clearTimeout(timer);
          reject(new Error(`${name} ended before it was ready:\n${readFileSync(log, 'utf8').slice(-1500)}`));
        });
      });
    },
    say,
    arm: (step, phase, skip = 0) => say({ order: 'arm', step, phase, skip }),
    ended,
    async kill() {
      if (isRunning()) child?.kill('SIGKILL');
      await ended(5000);
    },
    pid: () => child?.pid,
    isRunning,
  };
}
