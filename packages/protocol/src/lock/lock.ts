/** The lock, `lockstep.lock`: every input of a manifest pinned by digest (spec/lock.md). */
import { boolean, integer, list, nullable, oneOf, table, tableOf, text, type TypeOf } from '../decode/decode.ts';
import { type BuildId, sha256Hex } from '../digest/digest.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { canonicalBytes } from '../json/canonical.ts';
import { type Json, lineAndColumn, parseJsonWithPositions } from '../json/parse.ts';
import type { Manifest } from '../manifest/manifest.ts';
import { sha256Text } from '../manifest/manifest.ts';
import { issueError } from '../decode/issue-error.ts';
import { fromUtf8 } from '../bytes/utf8.ts';

export const LOCK_SCHEMA = 'lockstep-lock/v1';

const printable = (value: string): boolean => !/[\u0000-\u001f\u007f-\u009f]/.test(value);
const line = text('text on one line', (value) => value !== '' && printable(value), 4096);
const linkPath = text(
  'a relative path',
  (value) =>
    value !== '' &&
    !value.startsWith('/') &&
    printable(value) &&
    !value.split('/').some((part) => part === '..' || part === '.' || part === ''),
  4096,
);
const objectId = text('a git object id', (value) => /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(value), 64);
const size = integer(0, Number.MAX_SAFE_INTEGER);

/** One file in the content store, and where a build finds it. */
const lockedFile = table({
  /** Where it came from: a URL, a package URL or a source reference. */
  uri: line,
  sha256: sha256Text,
  size,
  /** Path below the build directory; "." for a tree that is the build directory. */
  to: text(
    'a path below the build directory',
    (value) =>
      value === '.' ||
      (!value.startsWith('/') &&
        value !== '' &&
        printable(value) &&
        !value.split('/').some((part) => part === '..' || part === '.' || part === '')),
    4096,
  ),
  /** `tree`: a canonical tar that is unpacked. */
  as: oneOf(['file', 'tree'] as const),
  strip: integer(0, 16),
  /**
   * Digest of the bytes as they were fetched, where the stored tar was made from them (an archive is normalised, a
   * git commit is exported); null where they are the same bytes.
   */
  fetched: nullable(
    table({
      algorithm: oneOf(['sha256', 'sha512', 'gitCommit'] as const),
      digest: text('a digest in hex', (value) => /^[0-9a-f]{40,128}$/.test(value), 128),
    }),
  ),
});

export type LockedFile = TypeOf<typeof lockedFile>;

const git = table({ commit: objectId, tree: objectId, tag: nullable(objectId) });

const source = table({
  ref: line,
  files: list(lockedFile, 1000, 1),
  /** Seconds since 1970: SOURCE_DATE_EPOCH. */
  date: integer(0, 0xffff_ffff),
  date_from: line,
  git: nullable(git),
});

const debianPackage = table({
  name: text('a package name', (value) => /^[a-z0-9][a-z0-9+.-]*$/.test(value), 200),
  version: text('a version', (value) => /^[0-9A-Za-z][0-9A-Za-z.+:~-]*$/.test(value), 200),
  architecture: text('an architecture', (value) => /^[a-z0-9-]+$/.test(value), 40),
  size,
  sha256: sha256Text,
  /** Path below an archive's base URL, for snapshot archives. */
  path: text(
    'a path in an archive',
    (value) => /^[A-Za-z0-9_.+~:%/-]+$/.test(value) && !value.startsWith('/') && !value.split('/').includes('..'),
    1024,
  ),
  /** Unpacked before anything can run: what the archive marks as essential, with what that depends on. */
  bootstrap: boolean,
});

export type LockedPackage = TypeOf<typeof debianPackage>;

const environment = tableOf<LockedEnvironment>('kind', {
  debian: table({
    kind: oneOf(['debian'] as const),
    distribution: text('a distribution', (value) => /^[a-z][a-z0-9-]*$/.test(value), 64),
    suite: line,
    architecture: line,
    packages: list(debianPackage, 20_000, 1),
  }),
  rootfs: table({ kind: oneOf(['rootfs'] as const), sha256: sha256Text, size, uri: line }),
  host: table({ kind: oneOf(['host'] as const) }),
});

export type LockedEnvironment =
  | {
      readonly kind: 'debian';
      readonly distribution: string;
      readonly suite: string;
      readonly architecture: string;
      readonly packages: readonly LockedPackage[];
    }
  | { readonly kind: 'rootfs'; readonly sha256: string; readonly size: number; readonly uri: string }
  | { readonly kind: 'host' };

const links = list(table({ path: linkPath, target: line }), 100_000);

export const decodeLock = table({
  schema: oneOf([LOCK_SCHEMA] as const),
  /** SHA-256 over what of the manifest was resolved; another value means that the manifest has changed since. */
  resolves: sha256Text,
  source,
  environment,
  inputs: list(lockedFile, 100_000),
  /** Symbolic links that npm would make in `.bin` folders. */
  links,
});

export type Lock = TypeOf<typeof decodeLock>;

/** What a lock is a lock of. The steps may change without a new lock; the inputs may not. */
export function resolvesDigest(manifest: Manifest): BuildId {
  return sha256Hex(
    canonicalBytes(
      JSON.parse(
        JSON.stringify({
          source: manifest.source,
          environment: manifest.environment,
          inputs: manifest.inputs,
          date: manifest.build.source_date_epoch,
        }),
      ) as Json,
    ),
  ) as BuildId;
}

/** @throws LockstepError LOCK_INVALID with file, line and column */
export function parseLock(bytes: Uint8Array, file: string): Lock {
  const parsed = parseJsonWithPositions(bytes, file);
  const decoded = decodeLock(parsed.value, []);
  if (decoded.ok) return decoded.value;
  const textOfFile = fromUtf8(bytes) ?? '';
  throw issueError(
    'LOCK_INVALID',
    decoded.issues.map((one) => ({ ...one, hint: 'Make it again with "lockstep lock".' })),
    (at) => ({ file, ...lineAndColumn(textOfFile, parsed.offsetOf(at)) }),
  );
}

/** One line for each package and file, so that a diff of two locks can be read. */
export function formatLock(lock: Lock): string {
  return `${stringify(JSON.parse(JSON.stringify(lock)) as Json, '')}\n`;
}

function stringify(value: Json, indent: string): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const inner = `${indent} `;
  const flat = JSON.stringify(value);
  if (indent.length > 1 && flat.length < 400) return flat;
  if (Array.isArray(value))
    return value.length === 0 ? '[]' : `[\n${value.map((item: Json) => inner + stringify(item, inner)).join(',\n')}\n${indent}]`;
  const entries = Object.entries(value).map(([key, item]) => `${inner}${JSON.stringify(key)}: ${stringify(item, inner)}`);
  return entries.length === 0 ? '{}' : `{\n${entries.join(',\n')}\n${indent}}`;
}

/** @throws LockstepError LOCK_STALE */
export function requireFresh(lock: Lock, manifest: Manifest, file: string): void {
  if (lock.resolves === resolvesDigest(manifest)) return;
  throw new LockstepError(
    'LOCK_STALE',
    `${file} was made for another source, environment or inputs than the manifest has now`,
    'Run "lockstep lock" again.',
    { at: { file, line: 1, column: 1 } },
  );
}
