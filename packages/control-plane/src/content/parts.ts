/** Uploads in parts: each part by its own digest, so that an interrupted upload goes on; the whole is hashed by the farm. */
import { createHash } from 'node:crypto';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Objects } from '@lockstep/store/objects/objects';
import type { Farm } from '../farm.ts';
import { partKey, type PartScope } from './keys.ts';

export interface Upload {
  readonly scope: PartScope;
  readonly sha256: string;
}

const invalid = (why: string): LockstepError =>
  new LockstepError(
    'UPLOAD_INVALID',
    `The upload is not what it was said to be: ${why}`,
    'Send it again; if it happens again, the bytes change while they are read.',
  );

/** @throws LockstepError UPLOAD_INVALID */
export async function putPart(
  { objects, quota }: Pick<Farm, 'objects' | 'quota'>,
  { scope, sha256 }: Upload,
  part: string,
  bytes: Uint8Array,
): Promise<void> {
  const found = createHash('sha256').update(bytes).digest('hex');
  if (found !== part) throw invalid(`a part has SHA-256 ${found} instead of ${part}`);
  const key = partKey(scope, sha256, part);
  // Sent again, because the answer was lost.
  if ((await objects.size(key)) === bytes.length) return;
  await quota.take(scope, bytes.length);
  try {
    await objects.put(key, bytes);
  } catch (error) {
    quota.forget(scope);
    throw error;
  }
}

export async function presentParts(objects: Objects, { scope, sha256 }: Upload): Promise<string[]> {
  const prefix = partKey(scope, sha256, '');
  const found: string[] = [];
  for await (const { key } of objects.list(prefix)) found.push(key.slice(prefix.length));
  return found;
}

/**
 * Puts the parts together as `target`, unless the whole has another digest: then all of them are thrown away.
 * @param check `always`: what is there already proves nothing about whoever asks
 * @throws LockstepError UPLOAD_INVALID
 */
export async function finishUpload(
  { objects, quota }: Pick<Farm, 'objects' | 'quota'>,
  upload: Upload,
  size: number,
  parts: readonly string[],
  target: string,
  check: 'unless there' | 'always' = 'unless there',
): Promise<void> {
  const { scope, sha256 } = upload;
  // Acknowledged before, and the answer was lost: the same call again says yes again.
  if (check === 'unless there' && (await objects.size(target)) === size) {
    await dropUpload(objects, upload);
    quota.forget(scope);
    return;
  }
  const keys = parts.map((part) => partKey(scope, sha256, part));
  const hash = createHash('sha256');
  let total = 0;
  for (const key of keys) {
    const stream = await objects.stream(key);
    if (stream === null) throw invalid('not all of its parts are there');
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      hash.update(chunk);
      total += chunk.length;
      if (total > size) break;
    }
  }
  const found = hash.digest('hex');
  if (total !== size || found !== sha256) {
    await dropUpload(objects, upload);
    quota.forget(scope);
    throw invalid(
      total === size ? `it has SHA-256 ${found} instead of ${sha256}` : `it has ${total > size ? 'more' : total} bytes instead of ${size}`,
    );
  }
  if (size === 0) await objects.put(target, new Uint8Array());
  else await objects.compose(target, keys);
}

/** When what was put together is known of: until then the same call again finds its parts. */
export async function forgetParts({ objects, quota }: Pick<Farm, 'objects' | 'quota'>, upload: Upload): Promise<void> {
  await dropUpload(objects, upload);
  quota.forget(upload.scope);
}

async function dropUpload(objects: Objects, upload: Upload): Promise<void> {
  for (const part of await presentParts(objects, upload)) await objects.remove(partKey(upload.scope, upload.sha256, part));
}
