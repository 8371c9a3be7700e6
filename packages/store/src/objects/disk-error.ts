/** What the operating system says about a disk, as an error that tells an operator what to do. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';

const HINTS: Readonly<Record<string, string>> = {
  ENOSPC: 'The disk is full: free some space, or use a larger one.',
  EDQUOT: 'The quota is used up: raise it, or free some space.',
  EIO: 'The disk fails: check it, and restore from a backup.',
  EROFS: 'It is mounted read-only: mount it for writing, or check the disk.',
  EACCES: 'Make the folder writable for the user that runs the farm.',
  EPERM: 'Make the folder writable for the user that runs the farm.',
  EMFILE: 'Raise the limit of open files (LimitNOFILE).',
  ENFILE: 'The host has too many open files: close some.',
  ENOTDIR: 'A file lies where a folder should be: name another folder.',
};

/** Leaves alone what is not an error of the operating system. */
export function diskError(storage: string, error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof LockstepError || !('code' in error) || !('syscall' in error)) return error;
  return new LockstepError(
    'STORE_UNUSABLE',
    `The ${storage} cannot be used: ${error.message}`,
    HINTS[String(error.code)] ?? 'Check the folder and its disk.',
    { reason: String(error.code) },
  );
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

export function isThere(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EEXIST';
}
