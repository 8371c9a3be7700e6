/**
 * Objects in a Google Cloud Storage bucket. NOT TESTED AGAINST GOOGLE: there is no account here. What is tested is the
 * contract against a server of our own that knows the few calls of the JSON API (gcs-objects.long.test.ts); run probeObjects
 * against a real bucket before you rely on it.
 *
 * A version of an object is its generation: `create` is an upload if the generation is 0, `swapIf` one if it is that of the
 * bytes that were compared. Credentials are found by Google's library (GOOGLE_APPLICATION_CREDENTIALS, or the host's
 * account); an endpoint of one's own gets none.
 */
import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { type File, IdempotencyStrategy, Storage } from '@google-cloud/storage';
import { isAmbiguous, isNoBucket, statusOf, unusable } from './bucket-error.ts';
import { type Mark, markFromMetadata, markOver, markToMetadata, plainMark, writeOnce } from './conditional-write.ts';
import { exactSize } from './exact-size.ts';
import { endedEarly, objectGone, objectTooLarge, sentOtherSize } from './objects-error.ts';
import { type ByteRange, type Content, isObjectKey, type Objects } from './objects.ts';
import { patientBody } from './patient-body.ts';
import { wholeOf } from './pieces.ts';
import { requireKey, requirePrefix, requireRange } from './require-key.ts';

export interface GcsPlace {
  readonly bucket: string;
  /** Before every key, without a slash at the end; '' for the whole bucket. */
  readonly prefix: string;
  /** null for Google's own. */
  readonly endpoint: string | null;
}

/** Sources of one compose. */
const COMPOSED = 32;
/** Larger content is uploaded so that a break costs only what was under way. */
const RESUMABLE = 16 * 2 ** 20;
/**
 * `validation: false`: what the library calls so compares afterwards, and deletes whatever is there by then when it differs,
 * also what somebody else has put. Instead, Google is told the MD5 in advance, where it is known.
 */
const WHOLE = { resumable: false, validation: false } as const;
const CHUNKED = { resumable: true, validation: false } as const;
/** Milliseconds to wait for the next bytes of an answer. */
const PATIENCE = 60_000;
/** How often a read is begun again: the object was replaced in between, or there was no answer. */
const ATTEMPTS = 5;
/** Milliseconds between. */
const PAUSE = 50;

interface Head {
  readonly size: number;
  readonly generation: string;
  readonly mark: Mark;
}

export function gcsObjects(place: GcsPlace): Objects {
  const name = `gcs bucket ${place.bucket}${place.prefix === '' ? '' : `/${place.prefix}`} at ${place.endpoint ?? 'Google'}`;
  const before = place.prefix === '' ? '' : `${place.prefix}/`;
  const endpoint = place.endpoint === null ? {} : { apiEndpoint: place.endpoint, projectId: 'none' };
  const bucket = new Storage({ ...endpoint, retryOptions: { idempotencyStrategy: IdempotencyStrategy.RetryAlways } }).bucket(place.bucket);
  /** For what must not be repeated without a look at what came of it. */
  const single = new Storage({ ...endpoint, retryOptions: { autoRetry: false } }).bucket(place.bucket);
  const pathOf = (key: string): string => before + requireKey(key);

  async function ask<T>(what: string, act: Promise<T>): Promise<T> {
    try {
      return await act;
    } catch (error) {
      throw unusable(name, what, error);
    }
  }
  async function head(key: string): Promise<Head | null> {
    const path = pathOf(key);
    try {
      const [{ size, generation, metadata }] = await bucket.file(path).getMetadata();
      return { size: Number(size), generation: String(generation), mark: markFromMetadata(metadata, String(generation)) };
    } catch (error) {
      if (statusOf(error) === 404 && !isNoBucket(error)) return null;
      throw unusable(name, key, error);
    }
  }
  /**
   * Of one version, which is not there any more once it was replaced. Asked for without the library: its stream lives on,
   * with its connection, when the reader goes away, and piles up listeners.
   */
  async function* body(key: string, { generation }: Head, start: number, size: number): AsyncGenerator<Uint8Array> {
    if (size === 0) return;
    const { storage } = bucket;
    const url = `${storage.baseUrl}/b/${place.bucket}/o/${encodeURIComponent(pathOf(key))}?alt=media&generation=${generation}`;
    const headers = new Headers(place.endpoint === null ? await storage.authClient.getRequestHeaders(url) : {});
    headers.set('range', `bytes=${start}-${start + size - 1}`);
    const ended = new AbortController();
    const late = setTimeout(() => ended.abort(new Error(`no answer for ${PATIENCE} ms`)), PATIENCE);
    try {
      const answer = await fetch(url, { headers, signal: ended.signal }).finally(() => clearTimeout(late));
      if (answer.status === 404) throw new Replaced();
      if (answer.body === null || answer.status !== (start === 0 && answer.status === 200 ? 200 : 206))
        throw Object.assign(new Error(`answer ${answer.status}`), { code: answer.status });
      yield* exactSize(
        patientBody(Readable.fromWeb(answer.body), PATIENCE, (error) => unusable(name, key, error)),
        size,
        (seen) => endedEarly(name, key, seen, size),
      );
    } finally {
      ended.abort();
    }
  }
  /** The object as it is now, once its first bytes are there. */
  async function opened(
    key: string,
    rangeOf: (there: Head) => ByteRange,
  ): Promise<{ there: Head; bytes: AsyncIterable<Uint8Array> } | null> {
    for (let at = 1; ; at++) {
      const there = await head(key);
      if (there === null) return null;
      const { start, length } = rangeOf(there);
      const bytes = body(key, there, start, Math.max(0, Math.min(length, there.size - start)));
      try {
        const first = await bytes.next();
        return { there, bytes: resumed(first.done === true ? [] : [first.value], bytes) };
      } catch (error) {
        if (at === ATTEMPTS || !(error instanceof Replaced || isAmbiguous(error))) throw unusable(name, key, error);
        await sleep(PAUSE * at);
      }
    }
  }

  async function putOnce(key: string, bytes: Uint8Array, over: Head | null): Promise<boolean> {
    const mark = markOver(over?.mark ?? null);
    const file = single.file(pathOf(key));
    const options = {
      ...WHOLE,
      metadata: { metadata: markToMetadata(mark), md5Hash: md5(bytes) },
      preconditionOpts: { ifGenerationMatch: over?.generation ?? 0 },
    };
    return await writeOnce({
      mark,
      where: `${key} in ${name}`,
      async attempt() {
        try {
          await file.save(Buffer.from(bytes), options);
          return { came: 'written' };
        } catch (error) {
          if (statusOf(error) === 412) return { came: 'refused' };
          if (isAmbiguous(error)) return { came: 'doubt', error };
          throw unusable(name, key, error);
        }
      },
      readMark: async () => (await head(key))?.mark ?? null,
    });
  }

  async function upload(key: string, content: Content): Promise<void> {
    const size = content instanceof Uint8Array ? content.length : content.size;
    const metadata = { metadata: markToMetadata(plainMark()) };
    const file = bucket.file(pathOf(key));
    if (size <= RESUMABLE) {
      const bytes = content instanceof Uint8Array ? content : await wholeOf(promised(key, content));
      await ask(key, file.save(Buffer.from(bytes), { ...WHOLE, metadata: { ...metadata, md5Hash: md5(bytes) } }));
      return;
    }
    const source = content instanceof Uint8Array ? [content] : promised(key, content);
    let failure: unknown = null;
    const watched = async function* (): AsyncGenerator<Uint8Array> {
      try {
        yield* source;
      } catch (error) {
        failure = error;
        throw error;
      }
    };
    try {
      await pipeline(
        watched(),
        file.createWriteStream({ ...CHUNKED, chunkSize: RESUMABLE, metadata: { ...metadata, contentLength: size } }),
      );
    } catch (error) {
      throw failure ?? unusable(name, key, error);
    }
  }

  async function combine(key: string, target: File, sources: readonly File[]): Promise<void> {
    await ask(key, bucket.combine([...sources], target));
  }
  /** More than fit into one call become fewer first, under names that are no keys: nobody lists them. */
  async function composeFiles(key: string, sources: readonly File[]): Promise<void> {
    const target = bucket.file(pathOf(key));
    if (sources.length <= COMPOSED) return await combine(key, target, sources);
    const between: File[] = [];
    try {
      for (let at = 0; at < sources.length; at += COMPOSED) {
        const group = bucket.file(`${before}.compose/${randomBytes(12).toString('hex')}`);
        between.push(group);
        await combine(key, group, sources.slice(at, at + COMPOSED));
      }
      if (between.length > COMPOSED) throw new TypeError(`more than ${COMPOSED * COMPOSED} objects to compose`);
      await combine(key, target, between);
    } finally {
      await Promise.all(between.map((file) => file.delete({ ignoreNotFound: true }).catch(() => undefined)));
    }
  }

  const objects: Objects = {
    name,
    async get(key, maxBytes) {
      const found = await opened(key, ({ size }) => {
        if (size > maxBytes) throw objectTooLarge(name, key, size, maxBytes);
        return { start: 0, length: size };
      });
      return found === null ? null : await wholeOf(found.bytes);
    },
    async stream(key, range) {
      pathOf(key);
      const asked = requireRange(range ?? { start: 0, length: Number.MAX_SAFE_INTEGER });
      const found = await opened(key, () => asked);
      return found === null ? null : Readable.from(found.bytes, { objectMode: false });
    },
    size: async (key) => (await head(key))?.size ?? null,
    put: upload,
    create: (key, bytes) => putOnce(key, bytes, null),
    async swapIf(key, expected, next) {
      if (expected === null) return await objects.create(key, next);
      const found = await opened(key, ({ size }) => ({ start: 0, length: size === expected.length ? size : 0 }));
      if (found === null || found.there.size !== expected.length || !(await wholeOf(found.bytes)).equals(expected)) return false;
      return await putOnce(key, next, found.there);
    },
    async compose(key, parts) {
      pathOf(key);
      const sources: File[] = [];
      for (const part of parts) {
        const found = await head(part);
        if (found === null) throw objectGone(name, part);
        sources.push(bucket.file(pathOf(part), { generation: found.generation }));
      }
      if (sources.length === 0) await objects.put(key, new Uint8Array());
      else await composeFiles(key, sources);
    },
    async *list(prefix) {
      const asked = before + requirePrefix(prefix);
      for (let pageToken: string | undefined; ; ) {
        const query = { prefix: asked, autoPaginate: false, ...(pageToken === undefined ? {} : { pageToken }) };
        const [files, next] = await ask(`the list of ${prefix}`, bucket.getFiles(query));
        for (const { name: path, metadata } of files) {
          const key = path.slice(before.length);
          if (isObjectKey(key))
            yield { key, size: Number(metadata.size), modified: Math.floor(Date.parse(String(metadata.updated)) / 1000) };
        }
        pageToken = (next as { pageToken?: string } | null)?.pageToken;
        if (pageToken === undefined) return;
      }
    },
    async remove(key) {
      await ask(key, bucket.file(pathOf(key)).delete({ ignoreNotFound: true }));
    },
    close: () => Promise.resolve(),
  };
  return objects;
}

function md5(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('base64');
}

/** The version that was to be read is gone: there is another, or none. */
class Replaced extends Error {}

async function* resumed(first: readonly Uint8Array[], rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* first;
  yield* rest;
}

function promised(key: string, content: { readonly stream: Readable; readonly size: number }): AsyncGenerator<Uint8Array> {
  return exactSize(content.stream, content.size, (seen) => sentOtherSize(key, seen, content.size));
}
