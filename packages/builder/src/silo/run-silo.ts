/** Runs the silo on one scratch: a separate program, as anybody could run it by hand. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Context, ProgressItem } from '../context.ts';
import type { SiloJob } from './job.ts';
import { parseResult, type SiloFailure, type SiloResult } from './result.ts';

export interface SiloRun {
  readonly result: SiloResult;
  readonly scratch: string;
}

/** How the silo gets at a scratch that we see under another path, since it is mounted in a namespace of its own. */
export interface SiloView {
  /** The command that enters the namespace, and executes the command that follows it. */
  readonly enter: readonly string[];
  /** Where the scratch lies there. */
  readonly path: string;
}

/** @throws LockstepError HOST_CANNOT when the silo could not even write a result */
export async function runSilo(
  context: Context,
  scratch: string,
  job: SiloJob,
  item: ProgressItem | null,
  view: SiloView = { enter: [], path: scratch },
): Promise<SiloResult> {
  writeFileSync(`${scratch}/job.json`, JSON.stringify(job));
  const { settings } = context;
  const run = ['run', view.path, '--runtime', settings.runtime, '--events-fd=3'];
  const [enter, ...within] = view.enter;
  const child = spawn(enter ?? settings.silo, enter === undefined ? run : [...within, settings.silo, ...run], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    env: {
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      LOCKSTEP_NODE: process.execPath,
      ...(process.env['NODE_COMPILE_CACHE'] === undefined ? {} : { NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] }),
    },
    // A group of its own: Ctrl-C reaches us, and we tell it; otherwise both would race to clean up.
    detached: true,
  });
  let insisting: NodeJS.Timeout | undefined;
  // Said again until it is heard: process 1 of a pid namespace ignores a signal for which it has no handler yet.
  const cancel = (): void => {
    const say = (): void => {
      if (child.pid !== undefined && child.exitCode === null) signalGroup(child.pid, 'SIGTERM');
    };
    say();
    insisting ??= setInterval(say, 100);
  };
  context.cancelled.addEventListener('abort', cancel);
  let said = '';
  child.stderr?.on('data', (bytes: Buffer) => {
    said = (said + bytes.toString('utf8')).slice(-4000);
  });
  readEvents(child.stdio[3], item);
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
    if (context.cancelled.aborted) cancel();
  });
  context.cancelled.removeEventListener('abort', cancel);
  clearInterval(insisting);
  const result = existsSync(`${scratch}/result.json`) ? parseResult(readFileSync(`${scratch}/result.json`)) : null;
  // Whatever failed while it was being cancelled failed because of that.
  if (context.cancelled.aborted && result?.status !== 'ok')
    throw new LockstepError('CANCELLED', 'Cancelled', 'Run it again; nothing has to be cleaned up.');
  if (result !== null) return result;
  throw new LockstepError(
    'HOST_CANNOT',
    `The silo ended with status ${status ?? 'none'}: ${said.trim()}`,
    'Run "lockstep doctor" to see what this host lacks.',
  );
}

/** The launcher blocks SIGTERM while it waits for the silo, so the whole group is told. */
function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

function readEvents(stream: unknown, item: ProgressItem | null): void {
  if (!isReadable(stream)) return;
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    if (item === null) return;
    for (const line of lines) {
      const event = JSON.parse(line) as { event: string; name?: string; bytes?: string };
      if (event.event === 'step-started') item.update(event.name ?? '');
      if (event.event === 'output' && event.bytes !== undefined) item.output(Buffer.from(event.bytes, 'base64'));
    }
  });
}

function isReadable(stream: unknown): stream is NodeJS.ReadableStream {
  return typeof stream === 'object' && stream !== null && 'on' in stream;
}

/** The last lines that a failed step printed, as raw bytes. */
export function transcriptTail(scratch: string, bytes = 4000): Buffer {
  const path = `${scratch}/transcript`;
  return existsSync(path) ? readFileSync(path).subarray(-bytes) : Buffer.alloc(0);
}

/** A silo failure as this package's error. */
export function failureError(
  code: 'BUILD_FAILED' | 'FETCH_FAILED' | 'ENVIRONMENT_FAILED',
  what: string,
  failure: SiloFailure,
  tail: string,
): LockstepError {
  if (failure.code === 'HOST_CANNOT') return new LockstepError('HOST_CANNOT', failure.message, failure.hint, { reason: failure.code });
  if (failure.code === 'CANCELLED') return new LockstepError('CANCELLED', failure.message, failure.hint, { reason: failure.code });
  const said = tail === '' ? '' : `\n${tail}`;
  return new LockstepError(code, `${what}: ${failure.message}${said}`, failure.hint, { reason: failure.code });
}
