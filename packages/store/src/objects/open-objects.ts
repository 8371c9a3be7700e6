/**
 * Objects by where they are: `folder:/abs/path` (or only the path), `s3://bucket/prefix?endpoint=https://…&region=…`,
 * `gs://bucket/prefix`. Credentials come from the environment, never from the address: addresses end up in logs.
 */
import { isAbsolute, normalize } from 'node:path';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { folderObjects } from './folder-objects.ts';
import { isObjectKey, type Objects } from './objects.ts';

const HINT = 'Use folder:/an/absolute/path, s3://bucket/prefix?endpoint=https://host&region=name, or gs://bucket/prefix.';
/** What S3 and GCS both take; nothing that would have to be escaped. */
const BUCKET = /^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$/;
const S3_OPTIONS = ['endpoint', 'region', 'pathStyle'];

/** @throws LockstepError USAGE for an address that is none; STORE_UNUSABLE */
export async function openObjects(where: string): Promise<Objects> {
  const folder = where.startsWith('folder:') ? where.slice('folder:'.length) : where;
  if (isAbsolute(folder) && !folder.includes('\0')) return folderObjects(normalize(folder).replace(/(?<=.)\/+$/, ''));
  if (where.startsWith('s3://')) {
    const address = bucketAddress(where, S3_OPTIONS);
    const { s3Objects } = await import('./s3-objects.ts');
    return s3Objects({
      bucket: address.bucket,
      prefix: address.prefix,
      endpoint: endpointOf(address.options.get('endpoint')),
      region: address.options.get('region') ?? null,
      forcePathStyle: booleanOf('pathStyle', address.options.get('pathStyle')),
    });
  }
  if (where.startsWith('gs://')) {
    const address = bucketAddress(where, ['endpoint']);
    const { gcsObjects } = await import('./gcs-objects.ts');
    return gcsObjects({ bucket: address.bucket, prefix: address.prefix, endpoint: endpointOf(address.options.get('endpoint')) });
  }
  throw usage('This is no place for objects');
}

interface BucketAddress {
  readonly bucket: string;
  /** Without a slash at the end; '' for the whole bucket. */
  readonly prefix: string;
  readonly options: ReadonlyMap<string, string>;
}

function bucketAddress(where: string, known: readonly string[]): BucketAddress {
  const url = URL.parse(where);
  if (url === null) throw usage('This is no address of a bucket');
  if (url.username !== '' || url.password !== '' || url.port !== '') throw usage('An address holds no credentials and no port');
  if (url.hash !== '' || !BUCKET.test(url.hostname)) throw usage('This is no name of a bucket');
  const prefix = url.pathname.replace(/^\//, '').replace(/\/$/, '');
  if (prefix !== '' && !isObjectKey(prefix)) throw usage('The prefix is no path of plain names');
  for (const name of url.searchParams.keys())
    if (!known.includes(name) || url.searchParams.getAll(name).length > 1)
      throw usage(`Unknown or repeated option "${name.slice(0, 40)}" (known: ${known.join(', ')})`);
  return { bucket: url.hostname, prefix, options: new Map(url.searchParams) };
}

function endpointOf(text: string | undefined): string | null {
  if (text === undefined) return null;
  const url = URL.parse(text);
  if (url === null || !['http:', 'https:'].includes(url.protocol)) throw usage('The endpoint is no http(s) address');
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    throw usage('The endpoint holds more than scheme, host, port and path');
  return url.href.replace(/\/$/, '');
}

function booleanOf(name: string, text: string | undefined): boolean | null {
  if (text === undefined) return null;
  if (text !== 'true' && text !== 'false') throw usage(`${name} is true or false`);
  return text === 'true';
}

/** Without the address: somebody may have written a secret into it. */
function usage(message: string): LockstepError {
  return new LockstepError('USAGE', message, HINT);
}
