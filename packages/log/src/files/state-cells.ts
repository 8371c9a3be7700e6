/**
 * Where a log keeps the one thing that must not fork: its last signed checkpoint. `swap` succeeds only if the cell still
 * holds what the caller read, also when replicas on several machines swap at once.
 */
import { folderCells } from '@lockstep/store/cells';
import type { Objects } from '@lockstep/store/objects/objects';

export interface StateCells {
  /** null when the cell was never written. */
  get(name: string): Promise<string | null>;
  /** @param expected what the caller saw last; null for "never written". @returns whether it was swapped */
  swap(name: string, expected: string | null, next: string): Promise<boolean>;
}

/** A note of 10,000 characters, as JSON, with room. */
const MAX_CELL_BYTES = 1 << 16;

export function folderStateCells(folder: string): StateCells {
  const cells = folderCells(folder);
  return {
    get: (name) => new Promise((done) => done(cells.get(name))),
    swap: (name, expected, next) => new Promise((done) => done(cells.swap(name, expected, next))),
  };
}

export function objectStateCells(objects: Objects, prefix: string): StateCells {
  return {
    async get(name) {
      const bytes = await objects.get(`${prefix}/${name}`, MAX_CELL_BYTES);
      return bytes === null ? null : Buffer.from(bytes).toString('utf8');
    },
    swap: (name, expected, next) =>
      objects.swapIf(`${prefix}/${name}`, expected === null ? null : Buffer.from(expected), Buffer.from(next)),
  };
}
