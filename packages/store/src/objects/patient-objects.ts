/**
 * Objects that are asked again when the storage fails for a moment: a bucket answers one call in thousands with an error,
 * and one who makes ten calls for each request would pass all of them on. What was asked with a condition is read again
 * first, since it may have been done before the answer was lost.
 */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Objects } from './objects.ts';

/** Calls at most, with these pauses (milliseconds) between them. */
const PAUSES = [50, 100, 200, 400] as const;

export function patientObjects(real: Objects): Objects {
  const again = async <T>(work: (tried: number) => Promise<T>): Promise<T> => {
    for (let tried = 0; ; tried++) {
      try {
        return await work(tried);
      } catch (error) {
        const pause = PAUSES[tried];
        if (pause === undefined || !isPassing(error)) throw error;
        await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random())));
      }
    }
  };
  const holds = async (key: string, bytes: Uint8Array): Promise<boolean> => {
    const present = await real.get(key, Math.max(1, bytes.length));
    return present !== null && Buffer.compare(present, bytes) === 0;
  };
  return {
    name: real.name,
    get: (key, maxBytes) => again(() => real.get(key, maxBytes)),
    stream: (key, range) => again(() => real.stream(key, range)),
    size: (key) => again(() => real.size(key)),
    // A stream can be read once: whoever gave it knows whether it may be given again.
    put: (key, content) => (content instanceof Uint8Array ? again(() => real.put(key, content)) : real.put(key, content)),
    create: (key, bytes) =>
      again(async (tried) => {
        // Whether it was this call that made it can only be told where nobody else would write the same: then it was.
        if (tried > 0 && (await holds(key, bytes))) return true;
        return real.create(key, bytes);
      }),
    swapIf: (key, expected, next) =>
      again(async (tried) => {
        if (tried > 0 && (await holds(key, next))) return true;
        return real.swapIf(key, expected, next);
      }),
    compose: (key, parts) => again(() => real.compose(key, parts)),
    list: (prefix) => real.list(prefix),
    remove: (key) => again(() => real.remove(key)),
    close: () => real.close(),
  };
}

/** The storage's fault, not the caller's. */
function isPassing(error: unknown): boolean {
  if (error instanceof TypeError) return false;
  return (
    !(error instanceof LockstepError) || error.code === 'STORE_UNUSABLE' || error.code === 'FETCH_FAILED' || error.code === 'STORE_BUSY'
  );
}
