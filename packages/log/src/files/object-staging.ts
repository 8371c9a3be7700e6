/** Staged groups on a bucket or a folder of objects: one object for each group, called by its digest. */
import { createHash } from 'node:crypto';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Objects } from '@lockstep/store/objects/objects';
import { formatStaged, parseStaged, type Staging } from './staging.ts';

/** A group of 64 MiB of statements and one more, and bundles of the largest entries that fit into 4096 places. */
const MAX_STAGED_BYTES = 512 << 20;

export function objectStaging(objects: Objects, prefix: string): Staging {
  const keyOf = (digest: Sha256): string => `${prefix}/${digest}`;
  const digestOf = (bytes: Uint8Array): Sha256 => createHash('sha256').update(bytes).digest('hex') as Sha256;
  const read = async (digest: Sha256): Promise<Uint8Array | null> => {
    const bytes = await getBounded(objects, keyOf(digest));
    if (bytes !== null && digestOf(bytes) !== digest)
      throw new TypeError(`${objects.name}: ${keyOf(digest)} holds other bytes than its name says`);
    return bytes;
  };
  return {
    async put(files) {
      const bytes = formatStaged(files);
      const digest = digestOf(bytes);
      await objects.put(keyOf(digest), bytes);
      // Read back: what a signature is about to cover is what lies there.
      if ((await read(digest)) === null) throw new TypeError(`${objects.name}: ${keyOf(digest)} is not there after it was put`);
      return digest;
    },
    async get(digest) {
      const bytes = await read(digest);
      return bytes === null ? null : parseStaged(bytes);
    },
    remove: (digest) => objects.remove(keyOf(digest)),
  };
}

async function getBounded(objects: Objects, key: string): Promise<Uint8Array | null> {
  try {
    return await objects.get(key, MAX_STAGED_BYTES);
  } catch (error) {
    if (error instanceof LockstepError && error.code === 'FETCH_TOO_LARGE') throw new TypeError(error.message, { cause: error });
    throw error;
  }
}
