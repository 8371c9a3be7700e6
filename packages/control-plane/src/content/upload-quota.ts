/** How much may lie half uploaded for one attempt or one submitter. Counted in this process; what lies there already is counted first. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Objects } from '@lockstep/store/objects/objects';
import { type PartScope, partsPrefix } from './keys.ts';

/** Scopes that are remembered; one that is forgotten is counted again. */
const REMEMBERED = 1000;

export interface UploadQuota {
  /** Before bytes are stored. @throws LockstepError UPLOAD_INVALID */
  take(scope: PartScope, bytes: number): Promise<void>;
  /** After parts went away: they are counted again when something is stored next. */
  forget(scope: PartScope): void;
}

/** @param most bytes */
export function uploadQuota(objects: Objects, most: number): UploadQuota {
  const used = new Map<PartScope, number>();
  const count = async (scope: PartScope): Promise<number> => {
    let sum = 0;
    for await (const { size } of objects.list(partsPrefix(scope))) sum += size;
    return sum;
  };
  return {
    async take(scope, bytes) {
      const before = used.get(scope) ?? (await count(scope));
      if (before + bytes > most)
        throw new LockstepError(
          'UPLOAD_INVALID',
          `More than ${most} bytes lie half uploaded`,
          'Finish what was begun; what is left of it goes with the next garbage collection.',
        );
      used.delete(scope);
      used.set(scope, before + bytes);
      if (used.size > REMEMBERED)
        for (const oldest of used.keys()) {
          used.delete(oldest);
          break;
        }
    },
    forget: (scope) => void used.delete(scope),
  };
}
