/**
 * lockstep-key/v1, the file of one key: what it is for in plain, its PKCS#8 encrypted. All that is in plain is additional
 * data of the encryption, so a file whose use, name or scrypt parameters were changed no longer opens.
 */
import { toBase64, fromBase64 } from '@lockstep/protocol/bytes/base64';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import {
  type Decoded,
  type Decoder,
  integer,
  mapOk,
  nullable,
  oneOf,
  optional,
  table,
  tableOf,
  text,
} from '@lockstep/protocol/decode/decode';
import { issueError } from '@lockstep/protocol/decode/issue-error';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { canonicalBytes } from '@lockstep/protocol/json/canonical';
import { type Json, parseJson } from '@lockstep/protocol/json/parse';
import { type AnyKey, anyKeyFromSpki } from '@lockstep/protocol/key/any-key';
import { ALGORITHMS, type Algorithm, isKeyUse, type KeyUse, mayUse } from '@lockstep/protocol/key/key-use';
import { isCustodyName } from './private-key.ts';
import { type ScryptParameters, scryptProblem } from './scrypt.ts';

export const KEY_FILE_FORMAT = 'lockstep-key/v1';
/** The largest is an RSA key: 1.7 KB of base64, and as much again around it. */
export const MAX_KEY_FILE = 16 << 10;
/** PKCS#8 of RSA-2048 is 1.2 KB. */
const MAX_SECRET = 4096;
export const SALT_BYTES = 32;
const TAG_BYTES = 16;

/** What the file tells without its passphrase. */
export interface KeyFileHeader {
  readonly name: string;
  readonly use: KeyUse;
  readonly public: AnyKey;
  /** RFC 3339, in UTC, seconds. */
  readonly created: string;
  /** 16 hex digits: the eight bytes by which minisign tells keys apart, for a key that came from there. */
  readonly minisignKeyId: string | null;
}

export interface Kdf extends ScryptParameters {
  readonly salt: Uint8Array;
}

export type KeyFile = KeyFileHeader &
  (
    | { readonly protection: 'passphrase'; readonly kdf: Kdf; readonly ciphertext: Uint8Array }
    | { readonly protection: 'none'; readonly pkcs8: Uint8Array }
  );

const base64 = (what: string, min: number, max: number): Decoder<Uint8Array> => {
  const decoder = text(`${what} in base64`, isCanonicalBase64(min, max), 2 * MAX_SECRET);
  // A value that is refused is not shown: in a file without protection it is the secret.
  return (value, path): Decoded<Uint8Array> => {
    const decoded = decoder(value, path);
    return decoded.ok
      ? mapOk(decoded, (one) => fromBase64(one) ?? new Uint8Array())
      : { ok: false, issues: decoded.issues.map((one) => ({ ...one, found: 'something else' })) };
  };
};

function isCanonicalBase64(min: number, max: number): (value: string) => boolean {
  return (value) => {
    const bytes = fromBase64(value);
    return bytes !== null && bytes.length >= min && bytes.length <= max && toBase64(bytes) === value;
  };
}

/** A real instant, written in the one way that this program writes it. */
function isTime(value: string): boolean {
  const at = Date.parse(value);
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(value) && !Number.isNaN(at) && new Date(at).toISOString() === value.replace('Z', '.000Z');
}

const PLAIN = {
  format: oneOf([KEY_FILE_FORMAT]),
  name: text('the name of a key', isCustodyName, 64),
  use: text('a use that is known here', isKeyUse, 64) as Decoder<KeyUse>,
  algorithm: oneOf(ALGORITHMS),
  public: base64('a SubjectPublicKeyInfo', 40, 300),
  created: text('a time like 2026-01-31T12:00:00Z', isTime, 20),
  minisignKeyId: optional(nullable(text('16 hex digits', (value) => /^[0-9a-f]{16}$/.test(value), 16)), null),
};

const FILE = tableOf<RawFile>('protection', {
  passphrase: table({
    ...PLAIN,
    protection: oneOf(['passphrase']),
    kdf: table({
      name: oneOf(['scrypt']),
      n: integer(2, 2 ** 31),
      r: integer(1, 2 ** 16),
      p: integer(1, 2 ** 16),
      salt: base64('a salt', SALT_BYTES, SALT_BYTES),
    }),
    ciphertext: base64('the encrypted key', 1 + TAG_BYTES, MAX_SECRET + TAG_BYTES),
  }),
  none: table({ ...PLAIN, protection: oneOf(['none']), pkcs8: base64('the private key', 1, MAX_SECRET) }),
});

type RawFile = {
  readonly name: string;
  readonly use: KeyUse;
  readonly algorithm: Algorithm;
  readonly public: Uint8Array;
  readonly created: string;
  readonly minisignKeyId: string | null;
} & (
  | { readonly protection: 'passphrase'; readonly kdf: Kdf; readonly ciphertext: Uint8Array }
  | { readonly protection: 'none'; readonly pkcs8: Uint8Array }
);

/** @throws LockstepError KEY_INVALID */
export function parseKeyFile(bytes: Uint8Array, file: string): KeyFile {
  const invalid = (why: string): LockstepError =>
    new LockstepError(
      'KEY_INVALID',
      `${file} is not a key file: ${why}`,
      'Restore it from a backup, or make another with "lockstep key new".',
    );
  if (bytes.length > MAX_KEY_FILE) throw invalid(`it has more than ${MAX_KEY_FILE} bytes`);
  const decoded = FILE(jsonOf(bytes, invalid), []);
  if (!decoded.ok) throw issueError('KEY_INVALID', decoded.issues, () => ({ file, line: 1, column: 1 }));
  const { algorithm, public: spki, ...raw } = decoded.value;
  const key = anyKeyFromSpki(spki);
  if (key.algorithm !== algorithm) throw invalid(`its public key is ${key.algorithm}, and it says ${algorithm}`);
  if (!mayUse(raw.use, algorithm)) throw invalid(`a key for ${raw.use} cannot be ${algorithm}`);
  const problem = raw.protection === 'passphrase' ? scryptProblem(raw.kdf) : null;
  if (problem !== null) throw invalid(problem);
  return { ...raw, public: key };
}

/** The parser quotes the text around a fault, and that text may be the secret: only what was expected is said. */
function jsonOf(bytes: Uint8Array, invalid: (why: string) => LockstepError): Json {
  try {
    return parseJson(bytes);
  } catch {
    throw invalid('it is not JSON');
  }
}

/** What is authenticated with the secret: everything else in the file. */
export function additionalData(header: KeyFileHeader, kdf: Kdf): Uint8Array {
  return canonicalBytes({ ...plain(header), protection: 'passphrase', kdf: kdfJson(kdf) });
}

export function formatKeyFile(file: KeyFile): Uint8Array {
  const secret =
    file.protection === 'passphrase'
      ? { protection: file.protection, kdf: kdfJson(file.kdf), ciphertext: toBase64(file.ciphertext) }
      : { protection: file.protection, pkcs8: toBase64(file.pkcs8) };
  return toUtf8(`${JSON.stringify({ ...plain(file), ...secret }, null, 2)}\n`);
}

function plain(header: KeyFileHeader): { readonly [key: string]: Json } {
  return {
    format: KEY_FILE_FORMAT,
    name: header.name,
    use: header.use,
    algorithm: header.public.algorithm,
    public: toBase64(header.public.spki),
    created: header.created,
    ...(header.minisignKeyId === null ? {} : { minisignKeyId: header.minisignKeyId }),
  };
}

function kdfJson({ n, r, p, salt }: Kdf): Json {
  return { name: 'scrypt', n, r, p, salt: toBase64(salt) };
}
