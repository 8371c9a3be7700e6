/**
 * A real serial line: /dev/ttyS*, a USB adapter, or one end of a pty pair. Set to raw by stty, since a terminal changes bytes.
 * Held by a lock (flock on the device, released by the kernel with the process): two programs on one line hear half each. The lock
 * binds those who ask for it, as this project's programs do.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { ReadStream } from 'node:tty';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Line } from './line.ts';

/** What stty knows and a timeout of STALL_MS suits: below 9,600 one frame takes longer than that. */
export const SPEEDS = [9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600] as const;
export type Speed = (typeof SPEEDS)[number];

/** 8 bits, no parity, one stop bit, no flow control, no carrier needed, and no change of any byte. */
const RAW = ['raw', '-echo', '-iexten', 'cs8', '-parenb', '-cstopb', 'cread', 'clocal', '-crtscts', '-hupcl'];
/** For stty and flock, which do not wait: only a driver that hangs takes longer. */
const TOOL_MS = 10_000;

/** @throws LockstepError LINK_FAILED */
export function openTty(path: string, { speed }: { readonly speed: Speed }): Line {
  const held = openDevice(path);
  try {
    run('flock', ['--exclusive', '--nonblock', '3'], held, path, `Another program uses ${path}`, 'End it: two on one line hear half each.');
    const hint = 'Name the device of a serial line, such as /dev/ttyS0 or /dev/ttyUSB0.';
    run('stty', ['-F', path, ...RAW, String(speed)], held, path, `${path} is no serial line, or does not know ${speed} baud`, hint);
    return lineOn(new ReadStream(openDevice(path)), held);
  } catch (error) {
    closeSync(held);
    throw error;
  }
}

/** Does not wait for a carrier, and does not become this process's terminal. */
function openDevice(path: string): number {
  try {
    const device = openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
    if (fstatSync(device).isCharacterDevice()) return device;
    closeSync(device);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new LockstepError(
      'LINK_FAILED',
      `${path} cannot be opened: ${reason}`,
      'Check the name, the cable, and that you may use it (group dialout).',
    );
  }
  throw new LockstepError('LINK_FAILED', `${path} is not a device`, 'Name a serial line, such as /dev/ttyS0 or /dev/ttyUSB0.');
}

function run(program: string, args: readonly string[], held: number, path: string, message: string, hint: string): void {
  const done = spawnSync(program, args, { stdio: ['ignore', 'ignore', 'pipe', held], timeout: TOOL_MS, encoding: 'utf8' });
  if (done.error !== undefined) {
    const missing = `${program} could not be run for ${path}: ${done.error.message}`;
    throw new LockstepError('LINK_FAILED', missing, 'Install coreutils (stty) and util-linux (flock).');
  }
  if (done.status === 0) return;
  const said = done.stderr.trim().slice(0, 200);
  throw new LockstepError('LINK_FAILED', said === '' ? message : `${message}: ${said}`, hint);
}

function lineOn(stream: ReadStream, held: number): Line {
  const gone = Promise.withResolvers<void>();
  const waiting = new Set<(reason: string) => void>();
  let reason: string | null = null;
  const end = (why: string): void => {
    if (reason !== null) return;
    reason = why;
    for (const listener of waiting) listener(why);
    waiting.clear();
  };
  stream.on('error', (error) => end(error.message));
  stream.on('end', () => end('hung up'));
  stream.once('close', () => {
    closeSync(held);
    end('closed');
    gone.resolve();
  });
  return {
    // A dead line takes nothing and says nothing; the host's time limit is what ends the wait.
    write: (bytes) =>
      new Promise((resolve, reject) => {
        stream.write(bytes, (error) => (error instanceof Error ? reject(error) : resolve()));
      }),
    onData: (listener) => {
      stream.on('data', listener);
      return () => stream.off('data', listener);
    },
    onEnd: (listener) => {
      if (reason !== null) listener(reason);
      else waiting.add(listener);
      return () => waiting.delete(listener);
    },
    close: async () => {
      stream.destroy();
      await gone.promise;
    },
  };
}
