/** Uploads in parts of 16 MiB, each by its own digest: an interrupted upload goes on where it was. Flat memory. */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { MAX_PART_BYTES } from '@lockstep/api/values';

/** How one of the two kinds of upload is spoken of to the farm. */
export interface UploadTarget {
  state(): Promise<{ readonly present: readonly string[]; readonly complete: boolean }>;
  putPart(part: string, bytes: Uint8Array): Promise<unknown>;
  finish(size: number, parts: readonly string[]): Promise<unknown>;
  /** Say that all is there also when it was before: whoever waits for this upload has not heard of it. */
  readonly finishAlways?: true;
}

export async function uploadFile(path: string, target: UploadTarget): Promise<void> {
  const state = await target.state();
  if (state.complete && target.finishAlways !== true) return;
  const present = new Set(state.present);
  const parts: string[] = [];
  let size = 0;
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.allocUnsafe(MAX_PART_BYTES);
    for (;;) {
      const length = await fill(file, buffer, size);
      if (length === 0) break;
      const bytes = buffer.subarray(0, length);
      const part = createHash('sha256').update(bytes).digest('hex');
      if (!state.complete && !present.has(part)) await target.putPart(part, bytes);
      present.add(part);
      parts.push(part);
      size += length;
    }
  } finally {
    await file.close();
  }
  await target.finish(size, parts);
}

/** Whole parts, so that the same file has the same parts each time. */
async function fill(file: Awaited<ReturnType<typeof open>>, buffer: Buffer, from: number): Promise<number> {
  let length = 0;
  while (length < buffer.length) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, from + length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return length;
}
