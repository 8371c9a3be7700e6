/** A file with a secret in it: regular, bounded, and open to its owner only. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';

/** The caller wipes what it gets. @throws LockstepError FILE_NOT_FOUND, KEY_INVALID */
export function readPrivateFile(path: string, maxBytes: number): Buffer {
  const fd = openPrivate(path);
  try {
    // Asked of what was opened, not of the name: another file under that name a moment later changes nothing.
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new LockstepError('KEY_INVALID', `${path} is not a regular file`, 'Give the file itself.');
    const mode = stat.mode & 0o777;
    if ((mode & 0o077) !== 0)
      throw new LockstepError(
        'KEY_INVALID',
        `${path} can be read by others (mode ${mode.toString(8)})`,
        `chmod 600 ${path}; and if somebody else could have read it, replace what is in it.`,
      );
    if (stat.size > maxBytes)
      throw new LockstepError(
        'KEY_INVALID',
        `${path} has more than ${maxBytes} bytes`,
        'It is not a file of the kind that is wanted here.',
      );
    const bytes = Buffer.alloc(maxBytes + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read)
      read = readSync(fd, bytes, length, bytes.length - length, null);
    return bytes.subarray(0, length);
  } finally {
    closeSync(fd);
  }
}

function openPrivate(path: string): number {
  try {
    // NONBLOCK: a pipe under that name does not hold us up before it is refused.
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    throw new LockstepError('FILE_NOT_FOUND', `${path} cannot be opened: ${code}`, 'Look at the path, and at who may read it.');
  }
}
