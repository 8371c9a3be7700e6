/** Streams a file through SHA-256, or through all three digests of a subject, in flat memory. */
import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import type { DigestSet, Sha256 } from '@lockstep/protocol/digest/digest';

const CHUNK = 1 << 20;

export interface Hashed<T> {
  readonly digest: T;
  readonly size: number;
}

export function sha256File(path: string): Hashed<Sha256> {
  const hash = createHash('sha256');
  const size = eachChunk(path, (bytes) => hash.update(bytes));
  return { digest: hash.digest('hex') as Sha256, size };
}

export function digestFile(path: string): Hashed<DigestSet> {
  const [a, b, c] = [createHash('sha256'), createHash('sha512'), createHash('blake2b512')] as const;
  const size = eachChunk(path, (bytes) => {
    a.update(bytes);
    b.update(bytes);
    c.update(bytes);
  });
  return { digest: { sha256: a.digest('hex') as Sha256, sha512: b.digest('hex'), blake2b512: c.digest('hex') }, size };
}

/** @returns how many bytes there were */
function eachChunk(path: string, use: (bytes: Buffer) => void): number {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const chunk = Buffer.allocUnsafe(CHUNK);
    let size = 0;
    for (;;) {
      const count = readSync(fd, chunk, 0, CHUNK, null);
      if (count === 0) return size;
      use(chunk.subarray(0, count));
      size += count;
    }
  } finally {
    closeSync(fd);
  }
}
