/**
 * Compare-and-swap cells: a few named bytes that change, unlike blobs. `swap` succeeds only if the cell still holds what
 * the caller read. On a folder the old value is guarded by a lock file that only one process can make; a lock whose owner
 * is dead is broken.
 */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { writeDurably } from './durable.ts';
import { readIfThere, withLock } from './lock-file.ts';

export interface Cells {
  /** null when the cell was never written. */
  get(name: string): string | null;
  /** @param expected what the caller saw last; null for "never written". @returns whether it was swapped */
  swap(name: string, expected: string | null, next: string): boolean;
  names(): string[];
  remove(name: string): void;
}

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
      withLock(`${pathOf(name)}.lock`, () => {
        if (get(name) !== expected) return false;
        writeDurably(pathOf(name), next);
        return true;
      }),
    names: () =>
      readdirSync(root)
        .filter((name) => name.endsWith('.cell'))
        .map((name) => name.slice(0, -'.cell'.length)),
    remove: (name) => withLock(`${pathOf(name)}.lock`, () => rmSync(pathOf(name), { force: true })),
  };
}
