/** Reads a file that a person named. */
import { readFileSync, statSync } from 'node:fs';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';

/** No document of this program is larger. */
const MAX_BYTES = 64 << 20;

/** @throws LockstepError FILE_NOT_FOUND, FETCH_TOO_LARGE */
export function readNamedFile(path: string): Buffer {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined || !stat.isFile()) throw new LockstepError('FILE_NOT_FOUND', `${path} does not exist`, 'Check the path.');
  if (stat.size > MAX_BYTES)
    throw new LockstepError('FETCH_TOO_LARGE', `${path} is larger than 64 MiB`, 'That is no document of this program.');
  return readFileSync(path);
}
