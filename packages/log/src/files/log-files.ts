/**
 * Where a log's public files are written. Narrow on purpose: what a static file server or a bucket can do.
 * Guarantees: `write` shows a file whole or not at all; `replaceIf` is exclusive, so that what is published never goes
 * back; `flush` returns when everything written before it is on the disk.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { syncFolder, temporaryName, writeDurably } from '@lockstep/store/durable';
import { sweepParts } from '@lockstep/store/sweep';
import { withLock } from '@lockstep/store/lock-file';

export interface LogFiles {
  /** Whether a file is on the disk already when `write` returns; where not, `flush` is what makes it so. */
  readonly durable: boolean;
  read(path: string): Promise<Uint8Array | null>;
  write(path: string, bytes: Uint8Array): Promise<void>;
  /** Durable. Replaces the file if `accept` says so of what is there; one caller at a time. */
  replaceIf(path: string, bytes: Uint8Array, accept: (present: Uint8Array | null) => boolean): Promise<boolean>;
  flush(): Promise<void>;
}

/** @param locks a folder that is not served, for lock files */
export function folderFiles(root: string, locks: string): LogFiles {
  mkdirSync(root, { recursive: true });
  mkdirSync(locks, { recursive: true });
  sweepParts(locks);
  const made = new Set<string>();
  const ensure = (path: string): void => {
    const folder = dirname(path);
    if (made.has(folder)) return;
    mkdirSync(folder, { recursive: true });
    made.add(folder);
  };
  const read = (path: string): Uint8Array | null => readIfPresent(`${root}/${path}`);
  return {
    durable: false,
    read: (path) => Promise.resolve(read(path)),
    write(path, bytes) {
      ensure(`${root}/${path}`);
      const temporary = temporaryName(`${locks}/incoming`);
      try {
        writeFileSync(temporary, bytes, { flag: 'wx', mode: 0o644 });
        renameSync(temporary, `${root}/${path}`);
      } catch (error) {
        rmSync(temporary, { force: true });
        throw error;
      }
      return Promise.resolve();
    },
    replaceIf(path, bytes, accept) {
      const replaced = withLock(`${locks}/${path.replaceAll('/', '-')}.lock`, () => {
        if (!accept(read(path))) return false;
        writeDurably(`${root}/${path}`, bytes);
        return true;
      });
      return Promise.resolve(replaced);
    },
    flush() {
      // One call for the whole file system, instead of an fsync for each of thousands of files.
      const run = spawnSync('sync', ['-f', root], { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' });
      if (run.status !== 0)
        throw new LockstepError(
          'LOG_UNUSABLE',
          `sync -f ${root} failed: ${run.stderr.trim()}`,
          'Check the disk; coreutils has to be there.',
        );
      syncFolder(root);
      return Promise.resolve();
    },
  };
}

export function readIfPresent(path: string): Uint8Array | null {
  try {
    return readFileSync(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR' || error.code === 'EISDIR'))
      return null;
    throw error;
  }
}

export function removeFile(path: string): void {
  rmSync(path, { force: true });
}
