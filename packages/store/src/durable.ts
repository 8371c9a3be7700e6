/** Writes that are on the disk when they return: temporary file, fsync, rename, fsync of the folder. */
import { closeSync, constants, fsyncSync, linkSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { ownerTag } from './owner.ts';

export function syncFolder(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export function temporaryName(path: string): string {
  return `${path}.${ownerTag()}.part`;
}

/** Replace `path` with `bytes`, whole or not at all. */
export function writeDurably(path: string, bytes: Uint8Array | string, mode = 0o644): void {
  const temporary = temporaryName(path);
  writeNew(temporary, bytes, mode);
  renameSync(temporary, path);
  syncFolder(dirname(path));
}

/** Create `path` with `bytes`; false when it was there already. Never replaces. */
export function createDurably(path: string, bytes: Uint8Array | string, mode = 0o644, temporary = temporaryName(path)): boolean {
  writeNew(temporary, bytes, mode);
  try {
    linkSync(temporary, path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(temporary, { force: true });
  }
  syncFolder(dirname(path));
  return true;
}

function writeNew(path: string, bytes: Uint8Array | string, mode: number): void {
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, mode);
  let whole = false;
  try {
    const data = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
    for (let done = 0; done < data.length; ) done += writeSync(fd, data, done, data.length - done);
    fsyncSync(fd);
    whole = true;
  } finally {
    closeSync(fd);
    // A full disk is not made fuller by every attempt.
    if (!whole) rmSync(path, { force: true });
  }
}
