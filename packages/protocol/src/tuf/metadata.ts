/**
 * TUF 1.0.34 metadata (sections 4.2 to 4.6): root, targets, snapshot, timestamp, with Ed25519 keys. Closed schemas, and one
 * spelling: signatures are over RFC 8785, which for the printable ASCII that is allowed here is TUF's canonical JSON too.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { fromHex, toHex } from '../bytes/hex.ts';
import { type Decoder, integer, list, oneOf, record, table, text, type TypeOf, boolean } from '../decode/decode.ts';
import { formatIssue } from '../decode/issue-error.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { canonicalBytes, canonicalText } from '../json/canonical.ts';
import { isTable, optional } from '../decode/decode.ts';
import { type Json, parseJson } from '../json/parse.ts';

export const TUF_SPEC_VERSION = '1.0.34';

const hex = (bytes: number): Decoder<string> => text(`${2 * bytes} hex digits`, (value) => fromHex(value, bytes) !== null, 2 * bytes);
const version = integer(1, 1_000_000_000);

/** RFC 3339 in UTC to the second; without one, metadata would never expire. */
export const tufTime = text('a time like 2026-01-31T12:00:00Z', isTufTime, 20);

function isTufTime(value: string): boolean {
  const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(value) ? Date.parse(value) : Number.NaN;
  return !Number.isNaN(time) && new Date(time).toISOString() === value.replace('Z', '.000Z');
}

export function tufSeconds(time: string): number {
  return Date.parse(time) / 1000;
}

const role = table({ keyids: list(hex(32), 100, 1), threshold: integer(1, 100) });
const key = table({ keytype: oneOf(['ed25519'] as const), scheme: oneOf(['ed25519'] as const), keyval: table({ public: hex(32) }) });
const common = { spec_version: text('1.0.N', (value) => /^1\.0\.[0-9]{1,4}$/.test(value), 10), version, expires: tufTime };
const fileInfo = table({ version, length: optional(integer(1, 64 << 20), null), hashes: optional(table({ sha256: hex(32) }), null) });

const root = table({
  _type: oneOf(['root'] as const),
  ...common,
  consistent_snapshot: boolean,
  keys: record(/^[0-9a-f]{64}$/, key, 1000),
  roles: table({ root: role, targets: role, snapshot: role, timestamp: role }),
});
const targets = table({
  _type: oneOf(['targets'] as const),
  ...common,
  targets: record(/^[ -~]{1,200}$/, table({ length: integer(1, 64 << 20), hashes: table({ sha256: hex(32) }) }), 100_000),
});
const snapshot = table({ _type: oneOf(['snapshot'] as const), ...common, meta: record(/^[a-z-]{1,50}\.json$/, fileInfo, 100) });
const timestamp = table({ _type: oneOf(['timestamp'] as const), ...common, meta: table({ 'snapshot.json': fileInfo }) });

export type TufKey = TypeOf<typeof key>;
export type TufRole = TypeOf<typeof role>;
export type RootMetadata = TypeOf<typeof root>;
export type TargetsMetadata = TypeOf<typeof targets>;
export type SnapshotMetadata = TypeOf<typeof snapshot>;
export type TimestampMetadata = TypeOf<typeof timestamp>;

export const TUF_ROLES = { root, targets, snapshot, timestamp } as const;
export type TufRoleName = keyof typeof TUF_ROLES;

export interface SignedMetadata<T> {
  readonly signed: T;
  /** What the signatures are over. */
  readonly bytes: Uint8Array;
  readonly signatures: readonly { readonly keyid: string; readonly sig: Uint8Array }[];
}

const MAX_METADATA = 16 << 20;
const decodeSignatures = list(
  table({ keyid: hex(32), sig: text('a signature in hex', (value) => /^(?:[0-9a-f]{2}){0,200}$/.test(value), 400) }),
  200,
);

/** Section 4.2.2: the key id is the SHA-256 of the key's canonical form. */
export function tufKeyId(one: TufKey): string {
  return toHex(sha256(canonicalBytes({ keytype: one.keytype, scheme: one.scheme, keyval: { public: one.keyval.public } })));
}

/** @throws LockstepError ROOT_INVALID */
export function parseMetadata<N extends TufRoleName>(name: N, bytes: Uint8Array): SignedMetadata<TypeOf<(typeof TUF_ROLES)[N]>> {
  const invalid = (why: string): LockstepError =>
    new LockstepError('ROOT_INVALID', `Not TUF ${name} metadata: ${why}`, 'Get the metadata again from whoever publishes the policy.');
  if (bytes.length > MAX_METADATA) throw invalid('it is larger than 16 MiB');
  let json: Json;
  try {
    json = parseJson(bytes, `${name}.json`);
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : String(error));
  }
  if (!isTable(json) || Object.keys(json).sort().join() !== 'signatures,signed')
    throw invalid('it has not exactly the keys signed and signatures');
  const signedJson = json['signed'] ?? null;
  if (!/^[ -~]*$/.test(canonicalText(signedJson))) throw invalid('it has other characters than printable ASCII');
  // The role's decoder is chosen by the same name that the type is.
  const decoder = TUF_ROLES[name] as unknown as Decoder<TypeOf<(typeof TUF_ROLES)[N]>>;
  const signed = decoder(signedJson, ['signed']);
  if (!signed.ok) throw invalid(signed.issues.slice(0, 3).map(formatIssue).join('; '));
  const signatures = decodeSignatures(json['signatures'], ['signatures']);
  if (!signatures.ok) throw invalid(signatures.issues.slice(0, 3).map(formatIssue).join('; '));
  if (new Set(signatures.value.map((one) => one.keyid)).size !== signatures.value.length) throw invalid('a key id has two signatures');
  return {
    signed: signed.value,
    bytes: canonicalBytes(signedJson),
    signatures: signatures.value.map(({ keyid, sig }) => ({ keyid, sig: fromHex(sig, sig.length / 2) ?? new Uint8Array(0) })),
  };
}

/** What a role's keys sign. */
export function metadataBytes(signed: RootMetadata | TargetsMetadata | SnapshotMetadata | TimestampMetadata): Uint8Array {
  return canonicalBytes(withoutNulls(JSON.parse(JSON.stringify(signed)) as Json));
}

export function formatMetadata(
  signed: RootMetadata | TargetsMetadata | SnapshotMetadata | TimestampMetadata,
  signatures: readonly { readonly keyid: string; readonly sig: Uint8Array }[],
): string {
  return `${canonicalText({
    signatures: signatures.map(({ keyid, sig }) => ({ keyid, sig: toHex(sig) })),
    signed: withoutNulls(JSON.parse(JSON.stringify(signed)) as Json),
  })}\n`;
}

/** TUF has no null: what is optional is left out. */
function withoutNulls(value: Json): Json {
  if (Array.isArray(value)) return value.map((one: Json) => withoutNulls(one));
  if (!isTable(value)) return value;
  return Object.fromEntries(Object.entries(value).flatMap(([name, one]) => (one === null ? [] : [[name, withoutNulls(one)]])));
}
