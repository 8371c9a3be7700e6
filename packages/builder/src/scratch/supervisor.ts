/**
 * Holds a volume in a mount and a pid namespace of its own. Everything that makes up the volume (mounts, loop device,
 * daemon, the bytes of an image without a name) belongs to those namespaces, and the kernel takes all of it back when
 * the supervisor ends: told to, or because its owner was killed, be it with kill -9.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { Writable } from 'node:stream';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { findOnPath } from '../fetch/program.ts';
import { handOver } from './volume-key.ts';

export interface Supervisor {
  /** Of the process in the volume's namespace: its `/proc/PID/root` and `/proc/PID/ns/mnt` lead there. */
  readonly pid: number;
  /** Resolves when nothing of the volume is left. */
  end(): Promise<void>;
}

/** Unmounting is quick, since everything is deleted first; whatever takes longer than this hangs, and is killed. */
const PATIENCE_MS = 20_000;
/** A script that prints more than this has gone mad. */
const MAX_SAID = 4000;

/**
 * @param key overwritten once it is handed over
 * @throws LockstepError HOST_CANNOT with what the script said, CANCELLED
 */
export async function supervise(
  script: string,
  args: readonly string[],
  folder: string,
  key: Buffer,
  cancelled: AbortSignal,
): Promise<Supervisor> {
  const child = spawn(
    findOnPath('setpriv') ?? 'setpriv',
    [
      ...['--pdeathsig', 'KILL', '--'],
      ...['unshare', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--'],
      ...['/bin/sh', '-euc', script, 'scratch', ...args],
    ],
    {
      cwd: folder,
      stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
      env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' },
      // A group of its own: Ctrl-C must not take the scratch away from a build that is being cancelled in good order.
      detached: true,
    },
  );
  let said = '';
  child.stderr?.on('data', (bytes: Buffer) => {
    said = (said + bytes.toString('utf8')).slice(-MAX_SAID);
  });
  const ended = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      said += error.message;
      resolve();
    });
    child.once('close', () => resolve());
  });
  const kill = (): void => void child.kill('SIGKILL');
  cancelled.addEventListener('abort', kill);
  if (cancelled.aborted) kill();
  await handOver(key, child.stdio.slice(3).filter(isWritable));
  const pid = await Promise.race([saysReady(child), ended.then(() => null)]);
  cancelled.removeEventListener('abort', kill);
  if (pid === null) {
    await ended;
    if (cancelled.aborted) throw new LockstepError('CANCELLED', 'Cancelled', 'Run it again; nothing has to be cleaned up.');
    throw new LockstepError(
      'HOST_CANNOT',
      `The scratch could not be made: ${said.trim().slice(-500) || 'no reason given'}`,
      'Run "lockstep doctor" to see which kinds of scratch work here.',
    );
  }
  return {
    pid,
    async end() {
      const insist = setTimeout(kill, PATIENCE_MS);
      child.stdin?.end();
      await ended;
      clearTimeout(insist);
    },
  };
}

function saysReady(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    let text = '';
    child.stdout?.on('data', (bytes: Buffer) => {
      text = (text + bytes.toString('utf8')).slice(-MAX_SAID);
      const ready = /^ready (\d+)\n/m.exec(text);
      if (ready !== null) resolve(Number(ready[1]));
    });
  });
}

function isWritable(stream: unknown): stream is Writable {
  return stream instanceof Writable;
}
