/** Runs one prepared bundle to its end: output to the transcript, step marks, time limit, cancellation. */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { closeSync, constants, existsSync, openSync, readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Runtime } from '../host/runtime.ts';
import type { Job } from '../job/job.ts';
import { BASE, PLACE } from '../plan/place.ts';
import type { Transcript } from './transcript.ts';

export interface StepTiming {
  readonly name: string;
  readonly seconds: number;
  /** null when it was cut short. */
  readonly exitCode: number | null;
}

type Ending = 'exited' | 'timed-out' | 'transcript-full' | 'cancelled';

export interface ContainerResult {
  readonly ending: Ending;
  readonly exitCode: number;
  readonly steps: readonly StepTiming[];
  /** What the runtime itself said, when the sandbox never started. */
  readonly runtimeMessage: string;
}

export interface ContainerEvents {
  readonly stepStarted: (index: number, name: string) => void;
  readonly stepEnded: (index: number, name: string, exitCode: number, seconds: number) => void;
  readonly output: (bytes: Buffer) => void;
}

const OUTPUT_PIPE = `${BASE}/output`;
const MARKS_PIPE = `${BASE}/marks`;

export function pipeScript(): string {
  // The build may open /dev/stdout again by name, so the pipe has to let it.
  // The marks are for the first process alone: it holds the pipe open, and nobody can open it again.
  return `mkfifo -m 0666 ${OUTPUT_PIPE}; mkfifo -m 0600 ${MARKS_PIPE}`;
}

/** Address layout and kernel name are properties of a process, inherited by what it runs: set around the runtime. */
export function personality(job: Job): string[] {
  const flags = [
    ...(job.ambient.addressLayout === 'random' ? [] : ['--addr-no-randomize']),
    ...(job.ambient.kernelName === '2.6' ? ['--uname-2.6'] : []),
  ];
  return flags.length === 0 ? [] : ['setarch', process.arch === 'arm64' ? 'aarch64' : 'x86_64', ...flags];
}

/** `--keep`: the group has to outlive the container, since out-of-memory is only told by its counters. */
function runArguments(id: string): string[] {
  return ['run', '--keep', ...bundleArguments(id)];
}

function bundleArguments(id: string): string[] {
  return ['--preserve-fds', '1', '--bundle', PLACE.bundle, '--pid-file', `${PLACE.bundle}/pid`, id];
}

function globalArguments(): string[] {
  return ['--root', PLACE.state, '--log', `${PLACE.bundle}/runtime.log`];
}

export async function runContainer(
  runtime: Runtime,
  id: string,
  job: Job,
  transcript: Transcript,
  events: ContainerEvents,
  cancelled: AbortSignal,
  joinLoad: (pid: number) => void,
): Promise<ContainerResult> {
  const steps: StepTiming[] = [];
  let ending: Ending = 'exited';
  let running: { index: number; since: number } | null = null;
  let next = 0;
  const stop = (why: Ending): void => {
    if (ending !== 'exited') return;
    ending = why;
    killFirstProcess();
  };
  const output = drain(OUTPUT_PIPE, (bytes) => {
    events.output(bytes);
    if (!transcript.write(bytes)) stop('transcript-full');
  });
  const finishStep = (exitCode: number | null): void => {
    if (running === null) return;
    const name = job.steps[running.index]?.name ?? '';
    const seconds = (performance.now() - running.since) / 1000;
    steps.push({ name, seconds: Math.round(seconds * 1000) / 1000, exitCode });
    if (exitCode !== null) events.stepEnded(running.index, name, exitCode, seconds);
    running = null;
  };
  const marks = drain(
    MARKS_PIPE,
    lines((line) => {
      const match = /^(start|end) (\d{1,4})(?: (\d{1,3}))?$/.exec(line);
      const index = Number(match?.[2] ?? '-1');
      const step = job.steps[index];
      // Steps cannot write here by inheritance, but one that tries hard could: ignore what makes no sense.
      if (match === null || step === undefined) return;
      if (match[1] === 'start') {
        if (index !== next) return;
        next++;
        finishStep(null);
        running = { index, since: performance.now() };
        events.stepStarted(index, step.name);
      } else if (running?.index === index) finishStep(Number(match[3] ?? '1'));
    }),
  );
  const finished = runtime.name === 'runc' ? exitOf(startRuntime(runtime, job, runArguments(id))) : createStartWait(runtime, id, job);
  const timer = setTimeout(() => stop('timed-out'), job.limits.timeoutSeconds * 1000);
  const onCancel = (): void => stop('cancelled');
  cancelled.addEventListener('abort', onCancel);
  if (cancelled.aborted) onCancel();
  const load = startLoad(job.ambient.load ?? 0);
  if (load.length > 0)
    whenStarted(() => {
      for (const burner of load)
        if (burner.pid !== undefined && burner.exitCode === null && burner.signalCode === null) joinLoad(burner.pid);
    });
  const exitCode = await finished;
  clearTimeout(timer);
  cancelled.removeEventListener('abort', onCancel);
  for (const burner of load) burner.kill('SIGKILL');
  await Promise.all([output, marks, ...load.map(exitOf)]);
  finishStep(null);
  return { ending, exitCode, steps, runtimeMessage: runtimeLog() };
}

/** The kernel ends every other process of the pid namespace with its first one, so nothing can ignore this. */
function killFirstProcess(): void {
  whenStarted((pid) => {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
    }
  });
}

/** The runtime writes the pid of the first process when it is there; ten seconds is far more than it takes. */
function whenStarted(act: (pid: number) => void): void {
  const attempt = (left: number): void => {
    const pid = readPid();
    if (pid !== null) act(pid);
    else if (left > 0) setTimeout(() => attempt(left - 1), 10);
  };
  attempt(1000);
}

function readPid(): number | null {
  try {
    return Number(readFileSync(`${PLACE.bundle}/pid`, 'utf8')) || null;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}

function startRuntime(runtime: Runtime, job: Job, command: readonly string[]): ChildProcess {
  const out = openSync(OUTPUT_PIPE, constants.O_WRONLY);
  const marks = openSync(MARKS_PIPE, constants.O_WRONLY);
  const [program, ...args] = [...personality(job), runtime.path, ...globalArguments(), ...command];
  const child = spawn(program ?? runtime.path, args, {
    stdio: ['ignore', out, out, marks],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    cwd: '/',
    // A group of its own: a signal to ours must not end the runtime half way through a start. It ends with this namespace.
    detached: true,
  });
  closeSync(out);
  closeSync(marks);
  return child;
}

/** How often a container is looked at that is nobody's child. */
const POLL_MS = 10;

/**
 * crun has no `--keep`: create it, start it, and wait for its first process, which becomes a child of ours (we are
 * process 1 of this pid namespace) that nobody reaps before we have read how it ended.
 */
async function createStartWait(runtime: Runtime, id: string, job: Job): Promise<number> {
  const created = await exitOf(startRuntime(runtime, job, ['create', ...bundleArguments(id)]));
  const pid = readPid();
  if (created !== 0 || pid === null) return created === 0 ? 1 : created;
  const started = spawnSync(runtime.path, [...globalArguments(), 'start', id], { encoding: 'utf8' });
  if (started.status !== 0) {
    killFirstProcess();
    return started.status ?? 1;
  }
  for (;;) {
    const status = exitStatusOf(pid);
    if (status !== null) return status;
    await delay(POLL_MS);
  }
}

/** Field 52 of proc(5) `stat`, the wait status, once the process is a zombie; null while it runs. */
function exitStatusOf(pid: number): number | null {
  const path = `/proc/${pid}/stat`;
  if (!existsSync(path)) return 128;
  const fields = readFileSync(path, 'utf8')
    .replace(/^.*\) /s, '')
    .trim()
    .split(' ');
  if (fields[0] !== 'Z') return null;
  const wait = Number(fields[49]);
  return (wait & 0x7f) === 0 ? wait >> 8 : 128 + (wait & 0x7f);
}

function startLoad(count: number): ChildProcess[] {
  return Array.from({ length: count }, () => spawn('/bin/sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' }));
}

function exitOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? (signal === null ? 1 : 128)));
  });
}

/** Read a named pipe until the last writer is gone. Opened before any writer, so that nothing is missed. */
function drain(path: string, onData: (bytes: Buffer) => void): Promise<void> {
  const socket = new Socket({ fd: openSync(path, constants.O_RDONLY | constants.O_NONBLOCK), readable: true, writable: false });
  return new Promise((resolve, reject) => {
    socket.on('data', onData);
    socket.once('error', reject);
    socket.once('close', () => resolve());
  });
}

/** At most this many bytes without a newline are kept: marks are short. */
const MAX_MARK = 64;

function lines(onLine: (line: string) => void): (bytes: Buffer) => void {
  let rest = '';
  return (bytes) => {
    const parts = (rest + bytes.toString('latin1')).split('\n');
    rest = (parts.pop() ?? '').slice(0, MAX_MARK);
    for (const part of parts) onLine(part);
  };
}

function runtimeLog(): string {
  try {
    return readFileSync(`${PLACE.bundle}/runtime.log`, 'utf8')
      .split('\n')
      .filter((line) => /level=(error|fatal)|"level":"(error|fatal)"/.test(line))
      .join('\n')
      .slice(0, 2000);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
}

/** Free what the runtime keeps: its state, and the container's groups. */
export function deleteContainer(runtime: Runtime, id: string): Promise<void> {
  return new Promise((resolve) => {
    // A group that is still busy is swept by the next run.
    execFile(runtime.path, [...globalArguments(), 'delete', '--force', id], () => resolve());
  });
}
