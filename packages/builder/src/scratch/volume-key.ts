/** A key that lives in two buffers of this process until it is handed over, and is overwritten then. */
import { randomBytes } from 'node:crypto';
import type { Writable } from 'node:stream';

/** 64 symbols, 6 bits each: QEMU wants a key that is text. */
const SYMBOLS = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_');
/** 288 bits. */
const LENGTH = 48;

/** Never a string, which could not be overwritten. */
export function newVolumeKey(): Buffer {
  const key = randomBytes(LENGTH);
  for (const [at, byte] of key.entries()) key[at] = SYMBOLS[byte % SYMBOLS.length] ?? 0;
  return key;
}

/** Writes a copy of the key to each pipe, and forgets it. */
export async function handOver(key: Buffer, pipes: readonly Writable[]): Promise<void> {
  try {
    await Promise.all(
      pipes.map(
        (pipe) =>
          new Promise<void>((resolve) => {
            // Whoever ends without reading it says why on its standard error.
            pipe.once('error', () => resolve());
            pipe.end(key, () => resolve());
          }),
      ),
    );
  } finally {
    key.fill(0);
  }
}
