/** A `lockstep farm` of its own for one measurement: a process beside this one, spoken to over HTTPS as by anybody. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { farmClient, type FarmClient } from '@lockstep/api/client';
import { httpsTransport } from '@lockstep/api/https-transport';
import { tracked } from './children.ts';
import { BenchError, must } from './measure.ts';
import { lockstep } from './place.ts';

export interface FarmPlan {
  /** A new folder: the farm, its store and its journal lie below it. */
  readonly folder: string;
  /** Of `lockstep farm init`. */
  readonly init: readonly string[];
  /** Of the folder, before it first runs. */
  readonly change?: (farm: string) => void;
  /** Of `lockstep farm run`. */
  readonly run?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface RunningFarm {
  readonly folder: string;
  readonly home: string;
  readonly url: string;
  /** PEM. */
  readonly authority: string;
  /** The operator's. For one piece of work: a connection that idles while this process is busy is found dead. */
  connect(): { readonly client: FarmClient; close(): void };
  /** Milliseconds from the start of the process until it served. */
  readonly startedIn: number;
  memory(): FarmMemory;
  /** Seconds of CPU that its process has used, without what it started. */
  cpu(): number;
  stop(): Promise<void>;
}

/** Bytes. */
interface FarmMemory {
  readonly resident: number;
  readonly peak: number;
}

/** To look into it, such as `--cpu-prof --cpu-prof-dir=/tmp/profiles`. */
const FARM_OPTIONS = process.env['LOCKSTEP_BENCH_FARM_OPTIONS'];
const OPTIONS: Readonly<Record<string, string>> = FARM_OPTIONS === undefined ? {} : { NODE_OPTIONS: FARM_OPTIONS };

/** Milliseconds. */
const READY_WITHIN = 30_000;
const ENDS_WITHIN = 20_000;

/** Limits that get out of the way: what is measured is the farm, not its patience. */
export const NO_RATE_LIMIT = '\n[limits]\nrequests_per_second = 1000000\nrequests_at_once = 1000000\n';

export async function startFarm(plan: FarmPlan): Promise<RunningFarm> {
  const folder = `${plan.folder}/farm`;
  must(lockstep(['farm', 'init', folder, '--listen', '127.0.0.1:0', ...plan.init], `${plan.folder}/home`));
  plan.change?.(folder);
  return runFarm(plan);
}

/** The same farm again. */
export async function runFarm(plan: FarmPlan): Promise<RunningFarm> {
  const [folder, home] = [`${plan.folder}/farm`, `${plan.folder}/home`];
  const { argv, env } = lockstep(['farm', 'run', folder, '--ready-fd', '3', ...(plan.run ?? [])], home);
  const [program = '', ...args] = argv;
  const journal = openSync(`${plan.folder}/journal`, 'a');
  const before = performance.now();
  const child = tracked(
    spawn(program, args, {
      stdio: ['ignore', 'ignore', journal, 'pipe'],
      env: { ...process.env, ...env, ...plan.env, ...OPTIONS },
    }),
  );
  closeSync(journal);
  try {
    await ready(child);
  } catch (error) {
    child.kill('SIGKILL');
    throw new BenchError(`the farm does not start: ${String(error)}\n${readFileSync(`${plan.folder}/journal`, 'utf8').slice(-2000)}`);
  }
  const startedIn = performance.now() - before;
  const { url, authority } = JSON.parse(readFileSync(`${folder}/client.json`, 'utf8')) as { url: string; authority: string };
  const operatorToken = readFileSync(`${folder}/tokens/operator`, 'utf8').trim();
  return {
    folder,
    home,
    url,
    authority,
    connect() {
      const transport = httpsTransport({ url, authority, identity: null });
      return { client: farmClient(transport.send, operatorToken), close: () => transport.close() };
    },
    startedIn,
    memory: () => memoryOf(child.pid ?? 0),
    cpu: () => cpuOf(child.pid ?? 0),
    stop: () => end(child),
  };
}

export function changeConfig(change: (text: string) => string): (farm: string) => void {
  return (farm) => writeFileSync(`${farm}/farm.toml`, change(readFileSync(`${farm}/farm.toml`, 'utf8')));
}

async function ready(child: ChildProcess): Promise<void> {
  const told = child.stdio[3];
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not ready within ${READY_WITHIN / 1000} s`)), READY_WITHIN);
    const done = (act: () => void) => (): void => {
      clearTimeout(timer);
      act();
    };
    child.once('error', (error) => done(() => reject(error))());
    child.once('exit', (status) => done(() => reject(new Error(`status ${status}`)))());
    told?.once('data', done(resolve));
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), ENDS_WITHIN);
  await ended;
  clearTimeout(timer);
}

/** As the kernel counts it (proc_pid_status(5)). */
function memoryOf(pid: number): FarmMemory {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const bytes = (field: string): number => Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? '0') * 1024;
  return { resident: bytes('VmRSS'), peak: bytes('VmHWM') };
}

/** Fields 14 and 15 of proc_pid_stat(5), in ticks of USER_HZ, which is 100. */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /s, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

export async function asOperator<T>(farm: RunningFarm, work: (client: FarmClient) => Promise<T>): Promise<T> {
  const connected = farm.connect();
  try {
    return await work(connected.client);
  } finally {
    connected.close();
  }
}
