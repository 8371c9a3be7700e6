/** The errors that all kinds of storage share. None of them holds a secret. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';

export function objectTooLarge(storage: string, key: string, size: number, maxBytes: number): LockstepError {
  return new LockstepError(
    'FETCH_TOO_LARGE',
    `The object ${key} of ${storage} has ${size} bytes; ${maxBytes} were expected at most`,
    'It is not what belongs under this name: find out who wrote it.',
  );
}

export function objectGone(storage: string, key: string): LockstepError {
  return new LockstepError(
    'INPUT_GONE',
    `There is no object ${key} in ${storage}`,
    'Upload it again, or restore the storage from a backup.',
  );
}

/** The reading side: the storage gave other bytes than it had promised. */
export function endedEarly(storage: string, key: string, seen: number, size: number): LockstepError {
  return new LockstepError(
    'STORE_UNUSABLE',
    `Reading ${key} from ${storage} ended after ${seen} of ${size} bytes`,
    'Try again; if it stays so, check the storage and what lies between.',
  );
}

/** The writing side: whoever handed the content over sent other bytes than announced. Nothing was stored. */
export function sentOtherSize(key: string, seen: number, size: number): LockstepError {
  return new LockstepError(
    'FETCH_FAILED',
    `The content for ${key} ${seen > size ? 'is longer than' : `ended after ${seen} of`} ${size} bytes; nothing was stored`,
    'Send it again.',
  );
}
