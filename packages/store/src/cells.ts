/**
 * Compare-and-swap cells: a few named bytes that change, unlike blobs. `swap` succeeds only if the cell still holds what
 * the caller read. On a folder the old value is guarded by a lock file that only one process can make; a lock whose owner
 * is dead is broken.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { createDurably, writeDurably } from './durable.ts';
import { isAlive } from './owner.ts';

export interface Cells {
  /** null when the cell was never written. */
  get(name: string): string | null;
  /** @param expected what the caller saw last; null for "never written". @returns whether it was swapped */
  swap(name: string, expected: string | null, next: string): boolean;
  names(): string[];
  remove(name: string): void;
}

/** Longest wait for another writer, in milliseconds; a swap takes about one. */
const PATIENCE = 5000;

export function folderCells(root: string): Cells {
  mkdirSync(root, { recursive: true });
  const pathOf = (name: string): string => {
    if (!/^[a-z0-9][a-z0-9._-]{0,199}$/.test(name)) throw new TypeError(`not a cell name: ${name}`);
    return `${root}/${name}.cell`;
  };
  const get = (name: string): string | null => readIfThere(pathOf(name));
  return {
    get,
    swap: (name, expected, next) =>
      locked(`${pathOf(name)}.lock`, () => {
        if (get(name) !== expected) return false;
        writeDurably(pathOf(name), next);
        return true;
      }),
    names: () =>
      readdirSync(root)
        .filter((name) => name.endsWith('.cell'))
        .map((name) => name.slice(0, -'.cell'.length)),
    remove: (name) => locked(`${pathOf(name)}.lock`, () => rmSync(pathOf(name), { force: true })),
  };
}

function locked<T>(lock: string, act: () => T): T {
  const until = Date.now() + PATIENCE;
  while (!createDurably(lock, `${process.pid}-${randomBytes(6).toString('hex')}`)) {
    const held = readIfThere(lock);
    const owner = Number.parseInt(held ?? '0', 10);
    if (held !== null && owner > 0 && !isAlive(owner)) breakLock(lock, held);
    else if (Date.now() > until) throw new LockstepError('STORE_BUSY', `Process ${owner} holds ${lock}`, 'Wait for it, or end it.');
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
  locked(`${lock}.break`, () => {
    if (readIfThere(lock) === held) rmSync(lock, { force: true });
  });
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}
