/**
 * A log's public files on a bucket or a folder of objects. What was put is durable, so there is nothing to flush; a
 * checkpoint is replaced by compare-and-swap on its bytes, so that replicas on several machines never publish an older one.
 */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { sameHash } from '@lockstep/protocol/merkle/hash';
import type { Objects } from '@lockstep/store/objects/objects';
import { MAX_STATEMENT_BYTES } from '../source/log-source.ts';
import type { LogFiles } from './log-files.ts';

/** Racing replicas: each one that loses sees a newer checkpoint, which mostly ends it. */
const MAX_LOST_SWAPS = 100;

export function objectFiles(objects: Objects, prefix: string): LogFiles {
  const keyOf = (path: string): string => `${prefix}/${path}`;
  // The largest of a log's files is a statement.
  const read = (path: string): Promise<Uint8Array | null> => objects.get(keyOf(path), MAX_STATEMENT_BYTES);
  /** A storage may fail after it has done what it was asked: then what lies there says what happened. */
  const swapKnowingly = async (path: string, present: Uint8Array | null, bytes: Uint8Array): Promise<boolean> => {
    try {
      return await objects.swapIf(keyOf(path), present, bytes);
    } catch (error) {
      const now = await read(path);
      if (now !== null && sameHash(now, bytes)) return true;
      throw error;
    }
  };
  return {
    durable: true,
    read,
    write: (path, bytes) => objects.put(keyOf(path), bytes),
    async replaceIf(path, bytes, accept) {
      for (let lost = 0; lost < MAX_LOST_SWAPS; lost++) {
        const present = await read(path);
        if (!accept(present)) return false;
        if (await swapKnowingly(path, present, bytes)) return true;
      }
      throw new LockstepError('LOG_BUSY', 'Other replicas were faster to publish every time', 'Run fewer sequencers for a log.');
    },
    flush: () => Promise.resolve(),
  };
}
