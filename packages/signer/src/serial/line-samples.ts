/** For tests: two lines joined in one process that can be cut and listened to, and a clock that goes on when it is told to. */
import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from './clock.ts';
import type { Line } from './line.ts';

export interface LinePair {
  readonly host: Line;
  readonly node: Line;
  /** Bytes written so far, those that got lost included. */
  readonly written: { host: number; node: number };
  /** While true, everything is lost. */
  cut: boolean;
  end(reason: string): void;
}

interface End extends Line {
  deliver(bytes: Uint8Array): void;
  end(reason: string): void;
}

export function linePair(change: (bytes: Uint8Array) => Uint8Array = (bytes) => bytes): LinePair {
  const written = { host: 0, node: 0 };
  const carry = async (from: 'host' | 'node', bytes: Uint8Array, to: () => End): Promise<void> => {
    written[from] += bytes.length;
    await turn();
    if (!pair.cut) to().deliver(change(bytes));
  };
  const host: End = newEnd((bytes) => carry('host', bytes, () => node));
  const node: End = newEnd((bytes) => carry('node', bytes, () => host));
  const pair: LinePair = {
    host,
    node,
    written,
    cut: false,
    end: (reason) => {
      host.end(reason);
      node.end(reason);
    },
  };
  return pair;
}

function newEnd(write: (bytes: Uint8Array) => Promise<void>): End {
  const data = new Set<(bytes: Uint8Array) => void>();
  const ends = new Set<(reason: string) => void>();
  let over: string | null = null;
  return {
    write: (bytes) => (over === null ? write(bytes) : Promise.reject(new Error(over))),
    onData: (listener) => {
      data.add(listener);
      return () => data.delete(listener);
    },
    onEnd: (listener) => {
      if (over !== null) listener(over);
      else ends.add(listener);
      return () => ends.delete(listener);
    },
    close: async () => {},
    deliver: (bytes) => {
      for (const listener of data) listener(bytes);
    },
    end: (reason) => {
      over = reason;
      for (const listener of ends) listener(reason);
    },
  };
}

export interface SampleClock extends Clock {
  /** Lets time pass in steps of 100 ms, and all that is ready happen in between. */
  pass(seconds: number): Promise<void>;
}

export function sampleClock(): SampleClock {
  let now = 0;
  const timers = new Map<object, { due: number; readonly every: number; readonly act: () => void }>();
  return {
    now: () => now,
    every: (every, act) => {
      const key = {};
      timers.set(key, { due: now + every, every, act });
      return () => timers.delete(key);
    },
    pass: async (seconds) => {
      for (const until = now + seconds * 1000; now < until; ) {
        now += 100;
        for (const timer of timers.values()) {
          if (timer.due > now) continue;
          timer.due += timer.every;
          timer.act();
        }
        for (let turns = 0; turns < 20; turns++) await turn();
      }
    },
  };
}
