/** minisign public keys (minisign's format, "Public key format"): base64 of `Ed`, key id, key; in a file below a comment. */
import { concatBytes } from '@noble/hashes/utils.js';
import { toBase64 } from '../bytes/base64.ts';
import { toHex } from '../bytes/hex.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import { MAX_UNTRUSTED_COMMENT, readBase64Line, readUntrustedLine } from './comment.ts';
import { KEY_NUMBER_BYTES, keyNumber } from './key-number.ts';
import { invalidKey, requireKeyBytes } from './refused.ts';

const FORMAT = 'minisign public key';
const ALGORITHM = toUtf8('Ed');
const PUBLIC_KEY_BYTES = 32;
const MAX_KEY_FILE = 2 * MAX_UNTRUSTED_COMMENT;

export interface MinisignKey {
  /** 8 bytes, in the order of the file. */
  readonly keyId: Uint8Array;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
}

/** The id of a key that was made here; one that minisign made brings its own. */
export function minisignKeyId(publicKey: Uint8Array): Uint8Array {
  return keyNumber(publicKey);
}

/** What `minisign -P` takes: 56 characters. @throws LockstepError KEY_INVALID */
export function minisignKeyLine(keyId: Uint8Array, publicKey: Uint8Array): string {
  requireKeyBytes(FORMAT, 'key id', keyId, KEY_NUMBER_BYTES);
  requireKeyBytes(FORMAT, 'key', publicKey, PUBLIC_KEY_BYTES);
  return toBase64(concatBytes(ALGORITHM, keyId, publicKey));
}

/** The file that `minisign -p` takes. @throws LockstepError KEY_INVALID */
export function formatMinisignKey(keyId: Uint8Array, publicKey: Uint8Array): string {
  const line = minisignKeyLine(keyId, publicKey);
  // minisign shows the id as a little-endian number.
  return `untrusted comment: minisign public key ${toHex(keyId.toReversed()).toUpperCase()}\n${line}\n`;
}

/** The file, or the bare line. @throws LockstepError KEY_INVALID */
export function parseMinisignKey(text: string): MinisignKey {
  if (text.length > MAX_KEY_FILE) throw invalidKey(FORMAT, 'it is too long');
  const lines = text.split('\n');
  const isFile = lines.length === 3 && lines[2] === '' && readUntrustedLine(lines[0] ?? '') !== null;
  if (!isFile && lines.length !== 1) throw invalidKey(FORMAT, 'it is neither one line nor a comment and a line');
  const bytes = readBase64Line(lines[isFile ? 1 : 0] ?? '', ALGORITHM.length + KEY_NUMBER_BYTES + PUBLIC_KEY_BYTES);
  if (bytes === null || !ALGORITHM.every((byte, index) => byte === bytes[index])) throw invalidKey(FORMAT, 'its base64 is malformed');
  return { keyId: bytes.slice(2, 2 + KEY_NUMBER_BYTES), publicKey: bytes.slice(2 + KEY_NUMBER_BYTES) };
}
