/**
 * The body of an answer, read so that a storage that falls silent is noticed. The clock runs only while the reader waits
 * for bytes: one that takes its time between them (a slow client further on) is not the storage's fault.
 */
import type { Readable } from 'node:stream';

/** @param patience milliseconds of silence until it fails */
export async function* patientBody(body: Readable, patience: number, failed: (error: unknown) => Error): AsyncGenerator<Uint8Array> {
  const chunks = body.iterator({ destroyOnReturn: true }) as AsyncIterator<Uint8Array, undefined>;
  try {
    for (;;) {
      const clock = setTimeout(() => body.destroy(new Error(`no byte for ${patience} ms`)), patience);
      let next: IteratorResult<Uint8Array, undefined>;
      try {
        next = await chunks.next();
      } catch (error) {
        throw failed(error);
      } finally {
        clearTimeout(clock);
      }
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    body.destroy();
  }
}
