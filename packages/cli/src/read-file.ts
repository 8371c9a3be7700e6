/** Reads a file that a person named. */
import { readFileSync, type Stats, statSync } from 'node:fs';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';

/** No document of this program is larger. */
const MAX_BYTES = 64 << 20;

/** @throws LockstepError FILE_NOT_FOUND, FETCH_TOO_LARGE */
export function readNamedFile(path: string): Buffer {
  const stat = statOf(path);
  if (stat === null || !stat.isFile()) throw new LockstepError('FILE_NOT_FOUND', `${path} does not exist`, 'Check the path.');
  if (stat.size > MAX_BYTES)
    throw new LockstepError('FETCH_TOO_LARGE', `${path} is larger than 64 MiB`, 'That is no document of this program.');
  return readFileSync(path);
}

/** Links in a circle, and folders that may not be looked into, lead to no file. */
function statOf(path: string): Stats | null {
  try {
    return statSync(path, { throwIfNoEntry: false }) ?? null;
  } catch {
    return null;
  }
}
