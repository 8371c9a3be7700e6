/** One holder at a time, across processes: a lock file that only one can make. A lock whose owner is dead is broken. */
import { readFileSync, rmSync } from 'node:fs';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { createDurably } from './durable.ts';
import { ownerLives, ownerTag } from './owner.ts';

/** Longest wait for another holder, in milliseconds. */
const PATIENCE = 5000;

/** @throws LockstepError STORE_BUSY */
export function withLock<T>(lock: string, act: () => T): T {
  const until = Date.now() + PATIENCE;
  while (!createDurably(lock, ownerTag())) {
    const held = readIfThere(lock);
    if (held !== null && ownerLives(held) === false) breakLock(lock, held);
    else if (Date.now() > until)
      throw new LockstepError('STORE_BUSY', `Process ${Number.parseInt(held ?? '0', 10)} holds ${lock}`, 'Wait for it, or end it.');
    else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
  }
  try {
    return act();
  } finally {
    rmSync(lock, { force: true });
  }
}

/**
 * Removes the lock that a dead process left. Two that saw it must not both remove what lies there: the second would take
 * away the lock that the first has made since. So only one at a time looks again and removes, under a lock of its own.
 */
function breakLock(lock: string, held: string): void {
  withLock(`${lock}.break`, () => {
    if (readIfThere(lock) === held) rmSync(lock, { force: true });
  });
}

export function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}
