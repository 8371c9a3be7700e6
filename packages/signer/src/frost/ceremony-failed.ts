/** Every end of a ceremony but its success. A share that was made until then is worth nothing. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';

export function ceremonyFailed(message: string): LockstepError {
  return new LockstepError(
    'CEREMONY_FAILED',
    message,
    'Nothing of this ceremony may be used. Find out what happened at whoever is named, then begin a new one (spec/frost.md).',
  );
}
