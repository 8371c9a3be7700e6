/**
 * Objects in an S3 bucket: AWS, Ceph radosgw, MinIO and whatever else decides conditional puts (probe.ts finds out).
 * `create` is PutObject with If-None-Match: *, `swapIf` one with If-Match and the ETag of what was compared. What is larger
 * than a part is a multipart upload, which nobody sees before it is completed.
 *
 * Credentials are found by the SDK: environment, files, instance. A writer that is killed within a multipart upload leaves
 * parts that nobody sees but somebody pays for: give the bucket a rule AbortIncompleteMultipartUpload.
 */
import { Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type Attempt, type Mark, markFromMetadata, markOver, markToMetadata, plainMark, writeOnce } from './conditional-write.ts';
import { exactSize } from './exact-size.ts';
import { inFlight } from './in-flight.ts';
import { endedEarly, objectGone, objectTooLarge, sentOtherSize } from './objects-error.ts';
import { type Content, isObjectKey, type Objects } from './objects.ts';
import { patientBody } from './patient-body.ts';
import { piecesOf, wholeOf } from './pieces.ts';
import { requireKey, requirePrefix, requireRange } from './require-key.ts';
import { isAmbiguous, isNoBucket, statusOf, unusable } from './bucket-error.ts';

export interface S3Place {
  readonly bucket: string;
  /** Before every key, without a slash at the end; '' for the whole bucket. */
  readonly prefix: string;
  /** null for AWS's own. */
  readonly endpoint: string | null;
  /** null: from the environment; us-east-1 where there is an endpoint. */
  readonly region: string | null;
  /** `http://host/bucket` instead of `http://bucket.host`. null: where there is an endpoint. */
  readonly forcePathStyle: boolean | null;
  /** Milliseconds to wait for an answer, or for the next bytes of one. */
  readonly patience?: number;
}

const MEBI = 2 ** 20;
/** Bytes of an uploaded part; S3 wants 5 MiB at least, and 10,000 parts at most. */
const PART = 16 * MEBI;
const PARTS = 10_000;
const SMALLEST_PART = 5 * MEBI;
/** Bytes of a part that the storage copies itself: few enough to be done within the time-out. */
const COPIED_PART = 256 * MEBI;
/** Bytes of parts that are under way at once. */
const HELD = 64 * MEBI;
const COPIES_AT_ONCE = 8;
/** Long enough for a part over a slow line (16 MiB at 280 kB/s). */
const PATIENCE = 60_000;
const CONNECT_PATIENCE = 10_000;
/** Requests that are repeated by the SDK, and bodies that are asked for again here. */
const ATTEMPTS = 4;
/** Answers that are being read keep a connection each. */
const CONNECTIONS = 256;

interface Head {
  readonly size: number;
  readonly etag: string;
  readonly mark: Mark;
}

type Part = { readonly bytes: Uint8Array } | { readonly from: string; readonly etag: string; readonly start: number; readonly end: number };

export function s3Objects(place: S3Place): Objects {
  const Bucket = place.bucket;
  const name = `s3 bucket ${Bucket}${place.prefix === '' ? '' : `/${place.prefix}`} at ${place.endpoint ?? 'AWS'}`;
  const patience = place.patience ?? PATIENCE;
  const before = place.prefix === '' ? '' : `${place.prefix}/`;
  const client = new S3Client(configuration(place, ATTEMPTS));
  /** For what must not be repeated without a look at what came of it. */
  const single = new S3Client(configuration(place, 1));
  const keyOf = (key: string): string => before + requireKey(key);
  /** Whether this storage wants the ETags of conditions without their quotes: learned from what it accepts. */
  let bareTags = false;

  async function ask<T>(what: string, act: Promise<T>): Promise<T> {
    try {
      return await act;
    } catch (error) {
      throw unusable(name, what, error);
    }
  }
  /** null where the storage says that there is no such object; not where there is no such bucket. */
  async function askMaybe<T>(what: string, act: Promise<T>): Promise<T | null> {
    try {
      return await act;
    } catch (error) {
      if (statusOf(error) === 404 && !isNoBucket(error)) return null;
      throw unusable(name, what, error);
    }
  }
  async function head(key: string): Promise<Head | null> {
    const found = await askMaybe(key, client.send(new HeadObjectCommand({ Bucket, Key: keyOf(key) })));
    if (found !== null) return { size: found.ContentLength ?? 0, etag: found.ETag ?? '', mark: markOf(found) };
    // An answer to HEAD has no body: it looks the same when the whole bucket is gone.
    await ask(key, client.send(new HeadBucketCommand({ Bucket })));
    return null;
  }
  /** `bytes` is null when there are more than `maxBytes`. */
  async function read(key: string, maxBytes: number): Promise<(Head & { bytes: Uint8Array | null }) | null> {
    for (let at = 1; ; at++) {
      const found = await askMaybe(key, client.send(new GetObjectCommand({ Bucket, Key: keyOf(key) })));
      if (found === null) return null;
      const answer = { size: found.ContentLength ?? 0, etag: found.ETag ?? '', mark: markOf(found) };
      const body = found.Body as Readable;
      if (answer.size > maxBytes) {
        body.destroy();
        return { ...answer, bytes: null };
      }
      try {
        return { ...answer, bytes: await wholeOf(checked(key, body, answer.size)) };
      } catch (error) {
        if (at === ATTEMPTS) throw error;
      }
    }
  }
  function checked(key: string, body: Readable, size: number): AsyncGenerator<Uint8Array> {
    return exactSize(
      patientBody(body, patience, (error) => unusable(name, key, error)),
      size,
      (seen) => endedEarly(name, key, seen, size),
    );
  }

  /** @param over what is to be replaced; null for nothing */
  async function putOnce(key: string, bytes: Uint8Array, over: Head | null): Promise<boolean> {
    const mark = markOver(over?.mark ?? null);
    const request = { Bucket, Key: keyOf(key), Body: bytes, ContentLength: bytes.length, Metadata: markToMetadata(mark) };
    const attempt = async (condition: { IfNoneMatch: '*' } | { IfMatch: string }): Promise<Attempt> => {
      try {
        await single.send(new PutObjectCommand({ ...request, ...condition }));
        return { came: 'written' };
      } catch (error) {
        const status = statusOf(error);
        // 404: there is nothing that If-Match could match.
        if (status === 412 || (status === 404 && over !== null && !isNoBucket(error))) return { came: 'refused' };
        if (isAmbiguous(error)) return { came: 'doubt', error };
        throw unusable(name, key, error);
      }
    };
    const attemptSwap = async ({ etag }: Head): Promise<Attempt> => {
      const tried = await attempt({ IfMatch: spelled(etag, bareTags) });
      if (tried.came !== 'refused' || (await head(key))?.etag !== etag) return tried;
      // Refused, and yet nothing has changed: radosgw 16 compares with the bare tag, as it is stored. Either is a condition.
      const other = await attempt({ IfMatch: spelled(etag, !bareTags) });
      if (other.came === 'written') bareTags = !bareTags;
      return other;
    };
    return await writeOnce({
      mark,
      where: `${key} in ${name}`,
      attempt: () => (over === null ? attempt({ IfNoneMatch: '*' }) : attemptSwap(over)),
      readMark: async () => (await head(key))?.mark ?? null,
    });
  }

  /** Seen by nobody until it is complete; nothing of it stays when it fails. */
  async function multipart(key: string, atOnce: number, parts: AsyncIterable<Part> | Iterable<Part>): Promise<void> {
    const Key = keyOf(key);
    const mark = plainMark();
    const { UploadId } = await ask(key, client.send(new CreateMultipartUploadCommand({ Bucket, Key, Metadata: markToMetadata(mark) })));
    try {
      const tags: string[] = [];
      await inFlight(parts, atOnce, async (part, at) => {
        tags[at] = await ask(key, sendPart({ Bucket, Key, UploadId, PartNumber: at + 1 }, part));
      });
      const Parts = tags.map((ETag, at) => ({ ETag, PartNumber: at + 1 }));
      try {
        await client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }));
      } catch (error) {
        // Completed by an attempt whose answer was lost: a second one finds no such upload.
        if ((await head(key))?.mark.write !== mark.write) throw unusable(name, key, error);
      }
    } catch (error) {
      await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId })).catch(() => undefined);
      throw error;
    }
  }
  async function sendPart(
    target: { Bucket: string; Key: string; UploadId: string | undefined; PartNumber: number },
    part: Part,
  ): Promise<string> {
    if ('bytes' in part) {
      const sent = await client.send(new UploadPartCommand({ ...target, Body: part.bytes, ContentLength: part.bytes.length }));
      return sent.ETag ?? '';
    }
    const copied = await client.send(
      new UploadPartCopyCommand({
        ...target,
        CopySource: `${Bucket}/${keyOf(part.from).split('/').map(encodeURIComponent).join('/')}`,
        CopySourceRange: `bytes=${part.start}-${part.end}`,
        CopySourceIfMatch: part.etag,
      }),
    );
    return copied.CopyPartResult?.ETag ?? '';
  }

  const objects: Objects = {
    name,
    async get(key, maxBytes) {
      const found = await read(key, maxBytes);
      if (found?.bytes === null) throw objectTooLarge(name, key, found.size, maxBytes);
      return found?.bytes ?? null;
    },
    async stream(key, range) {
      const Key = keyOf(key);
      if (range !== undefined && requireRange(range).length === 0) return (await head(key)) === null ? null : Readable.from([]);
      const Range = range === undefined ? undefined : rangeHeader(range.start, range.length);
      let found;
      try {
        found = await askMaybe(key, client.send(new GetObjectCommand({ Bucket, Key, ...(Range === undefined ? {} : { Range }) })));
      } catch (error) {
        // The range begins at or after the end.
        if (Range !== undefined && statusOf((error as Error).cause) === 416) return Readable.from([]);
        throw error;
      }
      if (found === null) return null;
      const body = found.Body as Readable;
      const size = found.ContentLength;
      const wrong =
        size === undefined
          ? 'answers without a length'
          : range === undefined || isRange(found.ContentRange, range.start)
            ? null
            : 'ignores ranges';
      if (size === undefined || wrong !== null) {
        body.destroy();
        throw new LockstepError('HOST_CANNOT', `The ${name} ${wrong}`, 'Use another storage, or ask whoever runs it.');
      }
      return Readable.from(checked(key, body, size), { objectMode: false }).once('close', () => body.destroy());
    },
    size: async (key) => (await head(key))?.size ?? null,
    async put(key, content) {
      const size = content instanceof Uint8Array ? content.length : content.size;
      if (size > PART) {
        const part = Math.max(PART, Math.ceil(size / PARTS));
        await multipart(key, Math.max(1, Math.floor(HELD / part)), bytesOf(key, content, part));
        return;
      }
      const Key = keyOf(key);
      const bytes = content instanceof Uint8Array ? content : await wholeOf(promised(key, content));
      const request = { Bucket, Key, Body: bytes, ContentLength: size, Metadata: markToMetadata(plainMark()) };
      await ask(key, client.send(new PutObjectCommand(request)));
    },
    create: (key, bytes) => putOnce(key, bytes, null),
    async swapIf(key, expected, next) {
      if (expected === null) return await objects.create(key, next);
      const there = await read(key, expected.length);
      if (there === null || there.bytes === null || !Buffer.from(expected).equals(there.bytes)) return false;
      return await putOnce(key, next, there);
    },
    async compose(key, parts) {
      keyOf(key);
      const heads: { from: string; size: number; etag: string }[] = [];
      for (const from of parts) {
        const found = await head(from);
        if (found === null) throw objectGone(name, from);
        if (found.size > 0) heads.push({ from, ...found });
      }
      const size = heads.reduce((sum, part) => sum + part.size, 0);
      if (size > 0 && heads.slice(0, -1).every((part) => part.size >= SMALLEST_PART))
        await multipart(key, COPIES_AT_ONCE, heads.flatMap(copies));
      else await objects.put(key, { stream: Readable.from(concatenated(objects, heads)), size });
    },
    async *list(prefix) {
      const Prefix = before + requirePrefix(prefix);
      for (let ContinuationToken: string | undefined; ; ) {
        const request = new ListObjectsV2Command({ Bucket, Prefix, ...(ContinuationToken === undefined ? {} : { ContinuationToken }) });
        const page = await ask(`the list of ${prefix}`, client.send(request));
        for (const { Key, Size, LastModified } of page.Contents ?? []) {
          const key = (Key ?? '').slice(before.length);
          if (isObjectKey(key)) yield { key, size: Size ?? 0, modified: Math.floor((LastModified?.getTime() ?? 0) / 1000) };
        }
        if (page.IsTruncated !== true) return;
        ContinuationToken = page.NextContinuationToken;
      }
    },
    async remove(key) {
      await askMaybe(key, client.send(new DeleteObjectCommand({ Bucket, Key: keyOf(key) })));
    },
    close() {
      for (const each of [client, single]) each.destroy();
      return Promise.resolve();
    },
  };
  return objects;
}

function configuration(place: S3Place, maxAttempts: number): S3ClientConfig {
  const region = place.region ?? (place.endpoint === null ? null : (process.env['AWS_REGION'] ?? 'us-east-1'));
  const agent = { keepAlive: true, maxSockets: CONNECTIONS };
  return {
    maxAttempts,
    forcePathStyle: place.forcePathStyle ?? place.endpoint !== null,
    ...(place.endpoint === null ? {} : { endpoint: place.endpoint }),
    ...(region === null ? {} : { region }),
    // The SDK's own checksums come as trailers that radosgw and others do not know. Whoever reads hashes the bytes anyway.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: CONNECT_PATIENCE,
      requestTimeout: place.patience ?? PATIENCE,
      throwOnRequestTimeout: true,
      httpAgent: agent,
      httpsAgent: agent,
    },
  };
}

function markOf(answer: { Metadata?: Record<string, string> | undefined; ETag?: string | undefined }): Mark {
  return markFromMetadata(answer.Metadata, answer.ETag ?? '');
}

function isRange(header: string | undefined, start: number): boolean {
  return header?.startsWith(`bytes ${start}-`) === true;
}

function spelled(etag: string, bare: boolean): string {
  return bare ? etag.replaceAll('"', '') : etag;
}

function rangeHeader(start: number, length: number): string {
  const end = start + length - 1;
  return Number.isSafeInteger(end) ? `bytes=${start}-${end}` : `bytes=${start}-`;
}

async function* bytesOf(key: string, content: Content, size: number): AsyncGenerator<{ bytes: Uint8Array }> {
  if (content instanceof Uint8Array) {
    for (let at = 0; at < content.length; at += size) yield { bytes: content.subarray(at, at + size) };
    return;
  }
  for await (const bytes of piecesOf(promised(key, content), size)) yield { bytes };
}

function promised(key: string, content: { readonly stream: Readable; readonly size: number }): AsyncGenerator<Uint8Array> {
  return exactSize(content.stream, content.size, (seen) => sentOtherSize(key, seen, content.size));
}

/** One object as parts to be copied: equal ones, so that none falls under the least size that S3 takes. */
function copies({ from, size, etag }: { from: string; size: number; etag: string }): Part[] {
  const count = Math.ceil(size / COPIED_PART);
  const step = Math.ceil(size / count);
  return Array.from({ length: count }, (_, at) => ({ from, etag, start: at * step, end: Math.min(size, (at + 1) * step) - 1 }));
}

async function* concatenated(objects: Objects, parts: readonly { readonly from: string }[]): AsyncGenerator<Uint8Array> {
  for (const { from } of parts) {
    const source = await objects.stream(from);
    if (source === null) throw objectGone(objects.name, from);
    yield* source;
  }
}
