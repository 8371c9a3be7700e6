/** A TUF repository in memory, for tests. Keys come from fixed seeds, by number: nothing here is a secret. */
import { ed25519 } from '@noble/curves/ed25519.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { toHex } from '../bytes/hex.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import { canonicalBytes, canonicalText } from '../json/canonical.ts';
import type { Json } from '../json/parse.ts';
import { type TufKey, tufKeyId } from './metadata.ts';

type Table = { readonly [key: string]: Json };

export function tufKey(number: number): TufKey {
  return { keytype: 'ed25519', scheme: 'ed25519', keyval: { public: toHex(ed25519.getPublicKey(seed(number))) } };
}

export function keyId(number: number): string {
  return tufKeyId(tufKey(number));
}

/** Others than those of logs and witnesses (log/samples, policy/samples): each role has keys of its own. */
function seed(number: number): Uint8Array {
  return new Uint8Array(32).fill(200 + number);
}

/** In hex. */
export function tufSignature(number: number, signed: Json): string {
  return toHex(ed25519.sign(canonicalBytes(signed), seed(number)));
}

/** @param numbers of the keys that sign it */
export function signed(value: Json, numbers: readonly number[]): Uint8Array {
  const signatures = numbers.map((number) => ({ keyid: keyId(number), sig: tufSignature(number, value) }));
  return withSignatures(value, signatures);
}

export function withSignatures(value: Json, signatures: readonly { keyid: string; sig: string }[]): Uint8Array {
  return toUtf8(`${canonicalText({ signed: value, signatures })}\n`);
}

export const ROOT_KEYS = [1, 2, 3] as const;
export const TARGETS_KEYS = [4, 5] as const;
const SNAPSHOT_KEY = 6;
const TIMESTAMP_KEY = 7;
const EXPIRES = '2030-01-01T00:00:00Z';

function roleOf(numbers: readonly number[], threshold: number): Table {
  return { keyids: numbers.map(keyId), threshold };
}

/** Two of three keys for the root, two of two for the targets. */
export function rootJson(change: Table = {}): Table {
  const numbers = [...ROOT_KEYS, ...TARGETS_KEYS, SNAPSHOT_KEY, TIMESTAMP_KEY, 8, 9];
  return {
    _type: 'root',
    spec_version: '1.0.34',
    version: 1,
    expires: EXPIRES,
    consistent_snapshot: true,
    keys: Object.fromEntries(numbers.map((number) => [keyId(number), JSON.parse(JSON.stringify(tufKey(number))) as Json])),
    roles: {
      root: roleOf(ROOT_KEYS, 2),
      targets: roleOf(TARGETS_KEYS, 2),
      snapshot: roleOf([SNAPSHOT_KEY], 1),
      timestamp: roleOf([TIMESTAMP_KEY], 1),
    },
    ...change,
  };
}

/** Roots with other keys or another threshold for their own role. */
export function rolesWithRoot(numbers: readonly number[], threshold: number): Table {
  return { ...(rootJson()['roles'] as Table), root: roleOf(numbers, threshold) };
}

/** The target of the sample repository. */
export const POLICY_BYTES = toUtf8('{"policy":1}');

export function fileInfo(bytes: Uint8Array): Table {
  return { length: bytes.length, hashes: { sha256: toHex(sha256(bytes)) } };
}

export function targetsJson(change: Table = {}): Table {
  const targets = { 'policy.json': fileInfo(POLICY_BYTES) };
  return { _type: 'targets', spec_version: '1.0.34', version: 1, expires: EXPIRES, targets, ...change };
}

export function snapshotJson(change: Table = {}): Table {
  return { _type: 'snapshot', spec_version: '1.0.34', version: 1, expires: EXPIRES, meta: { 'targets.json': { version: 1 } }, ...change };
}

export function timestampJson(change: Table = {}): Table {
  return { _type: 'timestamp', spec_version: '1.0.34', version: 1, expires: EXPIRES, meta: { 'snapshot.json': { version: 1 } }, ...change };
}

export interface RepositoryParts {
  readonly targets?: Uint8Array;
  readonly snapshot?: Uint8Array;
  readonly timestamp?: Uint8Array;
  /** Newer roots and other files, by path. */
  readonly more?: Readonly<Record<string, Uint8Array>>;
}

export const signTargets = (change: Table = {}, numbers: readonly number[] = TARGETS_KEYS): Uint8Array =>
  signed(targetsJson(change), numbers);
export const signSnapshot = (change: Table = {}, numbers: readonly number[] = [SNAPSHOT_KEY]): Uint8Array =>
  signed(snapshotJson(change), numbers);
export const signTimestamp = (change: Table = {}, numbers: readonly number[] = [TIMESTAMP_KEY]): Uint8Array =>
  signed(timestampJson(change), numbers);

export function repository(parts: RepositoryParts = {}): (path: string) => Uint8Array | null {
  const files: Record<string, Uint8Array> = {
    'metadata/1.targets.json': parts.targets ?? signTargets(),
    'metadata/1.snapshot.json': parts.snapshot ?? signSnapshot(),
    'metadata/timestamp.json': parts.timestamp ?? signTimestamp(),
    [`targets/${toHex(sha256(POLICY_BYTES))}.policy.json`]: POLICY_BYTES,
    ...parts.more,
  };
  return (path) => (Object.hasOwn(files, path) ? (files[path] ?? null) : null);
}
