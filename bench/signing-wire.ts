/** A serial line for the bench: two pairs of ptys, and between them a relay that carries no more than a baud rate does. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, existsSync, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Line } from '@lockstep/signer/serial/line';
import { openTty } from '@lockstep/signer/serial/tty';
import { tracked } from './children.ts';
import { BenchError } from './measure.ts';
import { findProgram } from './place.ts';

const BAUD = 115_200;
/** A start bit, 8 bits and a stop bit make a byte. */
export const BYTES_PER_SECOND = BAUD / 10;
/** Socat makes a pty in a few milliseconds. */
const TTY_MS = 10_000;
/** The relay's turn: about 46 bytes at this speed, less than a frame. */
const TURN_MS = 4;

export interface Wire {
  readonly host: Line;
  readonly node: Line;
  /** Bytes on the line so far. */
  readonly carried: { toNode: number; toHost: number };
  stop(): Promise<void>;
}

/** @param prefix of the ttys' names, so that one folder has several */
export async function makeWire(folder: string, prefix = 'line'): Promise<Wire> {
  const carried = { toNode: 0, toHost: 0 };
  const ends: (() => unknown)[] = [];
  const stop = async (): Promise<void> => {
    for (const end of ends.splice(0).reverse()) await end();
  };
  const program = findProgram('socat');
  if (program === null) throw new BenchError('socat is not installed');
  const cable = async (name: string): Promise<readonly [Line, Line]> => {
    const paths = [`${folder}/${prefix}-${name}-a`, `${folder}/${prefix}-${name}-b`] as const;
    const socat = tracked(
      spawn(
        program,
        paths.map((path) => `pty,raw,echo=0,link=${path}`),
        { stdio: 'ignore' },
      ),
    );
    ends.push(() => gone(socat));
    await present(paths, socat);
    // A real port does not hang up when a program closes it.
    const held = paths.map((path) => openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK));
    ends.push(() => held.forEach((one) => closeSync(one)));
    const [a, b] = [openTty(paths[0], { speed: BAUD }), openTty(paths[1], { speed: BAUD })];
    ends.push(() => Promise.all([a.close(), b.close()]));
    return [a, b];
  };
  try {
    const [host, left] = await cable('left');
    const [right, node] = await cable('right');
    ends.push(relay(left, right, (count) => (carried.toNode += count)));
    ends.push(relay(right, left, (count) => (carried.toHost += count)));
    return { host, node, carried, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function relay(from: Line, to: Line, count: (bytes: number) => void): () => void {
  let waiting = Buffer.alloc(0);
  let last = performance.now();
  let allowance = 0;
  const deaf = from.onData((bytes) => (waiting = Buffer.concat([waiting, bytes])));
  const timer = setInterval(() => {
    const now = performance.now();
    // A line that was idle carries nothing faster afterwards.
    allowance = waiting.length === 0 ? 0 : allowance + ((now - last) * BYTES_PER_SECOND) / 1000;
    last = now;
    const some = waiting.subarray(0, Math.floor(allowance));
    waiting = waiting.subarray(some.length);
    allowance -= some.length;
    count(some.length);
    // The end that has gone is heard of by whoever waits for an answer.
    if (some.length > 0) to.write(some).catch(() => undefined);
  }, TURN_MS);
  return () => {
    deaf();
    clearInterval(timer);
  };
}

async function present(paths: readonly string[], socat: ChildProcess): Promise<void> {
  for (const limit = performance.now() + TTY_MS; !paths.every((path) => existsSync(path)); await sleep(2))
    if (socat.exitCode !== null || performance.now() > limit) throw new BenchError('socat makes no ptys');
}

async function gone(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}
