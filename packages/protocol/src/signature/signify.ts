/**
 * OpenBSD signify (signify(1), "Ed"): Ed25519 over the whole message, so the message here is a release's checksum file and
 * not an artifact. Public key, detached signature, and the form with the message behind the signature (`-e`, read by `-C`).
 */
import { concatBytes } from '@noble/hashes/utils.js';
import { toBase64 } from '../bytes/base64.ts';
import { fromUtf8, toUtf8 } from '../bytes/utf8.ts';
import { verifyEd25519 } from '../key/ed25519.ts';
import { MAX_UNTRUSTED_COMMENT, readBase64Line, readUntrustedLine, untrustedLine } from './comment.ts';
import { KEY_NUMBER_BYTES, keyNumber, sameBytes } from './key-number.ts';
import { invalidKey, invalidSignature, requireKeyBytes, requireSignatureBytes } from './refused.ts';

const KEY = 'signify public key';
const SIGNATURE = 'signify signature';
const ALGORITHM = toUtf8('Ed');
const PUBLIC_KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const NEWLINE = 10;
/** Comment, newline, 100 characters of base64, newline, with the comment in UTF-8. */
const MAX_HEAD = MAX_UNTRUSTED_COMMENT + 200;
/** A checksum file of some ten thousand lines. */
export const MAX_SIGNIFY_MESSAGE = 4 << 20;

export interface SignifyKey {
  /** 8 bytes that signify draws; those of our keys come from the key. */
  readonly keyNumber: Uint8Array;
  readonly publicKey: Uint8Array;
}

export interface Signify {
  readonly comment: string;
  readonly keyNumber: Uint8Array;
  readonly signature: Uint8Array;
}

export function signifyKeyNumber(publicKey: Uint8Array): Uint8Array {
  return keyNumber(publicKey);
}

/** @throws LockstepError KEY_INVALID */
export function formatSignifyKey(key: SignifyKey, comment: string): string {
  requireKeyBytes(KEY, 'key number', key.keyNumber, KEY_NUMBER_BYTES);
  requireKeyBytes(KEY, 'key', key.publicKey, PUBLIC_KEY_BYTES);
  const line = untrustedLine(comment);
  if (line === null) throw invalidKey(KEY, 'the comment is malformed or too long');
  return `${line}${toBase64(concatBytes(ALGORITHM, key.keyNumber, key.publicKey))}\n`;
}

/** @throws LockstepError KEY_INVALID */
export function parseSignifyKey(text: string): SignifyKey {
  const read = text.length > MAX_HEAD ? null : readHead(text, PUBLIC_KEY_BYTES);
  if (read === null) throw invalidKey(KEY, 'it is not a comment and a line of base64');
  return { keyNumber: read.keyNumber, publicKey: read.value };
}

/** @throws LockstepError ENVELOPE_INVALID */
export function formatSignify(sig: Signify): string {
  requireSignatureBytes(SIGNATURE, 'key number', sig.keyNumber, KEY_NUMBER_BYTES);
  requireSignatureBytes(SIGNATURE, 'signature', sig.signature, SIGNATURE_BYTES);
  const line = untrustedLine(sig.comment);
  if (line === null) throw invalidSignature(SIGNATURE, 'the comment is malformed or too long');
  return `${line}${toBase64(concatBytes(ALGORITHM, sig.keyNumber, sig.signature))}\n`;
}

/** @throws LockstepError ENVELOPE_INVALID */
export function parseSignify(text: string): Signify {
  const read = text.length > MAX_HEAD ? null : readHead(text, SIGNATURE_BYTES);
  if (read === null) throw invalidSignature(SIGNATURE, 'it is not a comment and a line of base64');
  return { comment: read.comment, keyNumber: read.keyNumber, signature: read.value };
}

/** The signature with its message behind it. @throws LockstepError ENVELOPE_INVALID */
export function formatSignifyEmbedded(sig: Signify, message: Uint8Array): Uint8Array {
  if (message.length > MAX_SIGNIFY_MESSAGE) throw invalidSignature(SIGNATURE, 'the message is too long');
  return concatBytes(toUtf8(formatSignify(sig)), message);
}

/** @throws LockstepError ENVELOPE_INVALID */
export function parseSignifyEmbedded(bytes: Uint8Array): { readonly sig: Signify; readonly message: Uint8Array } {
  if (bytes.length > MAX_HEAD + MAX_SIGNIFY_MESSAGE) throw invalidSignature(SIGNATURE, 'it is too long');
  const first = bytes.indexOf(NEWLINE);
  const second = first < 0 ? -1 : bytes.indexOf(NEWLINE, first + 1);
  const head = second < 0 || second > MAX_HEAD ? null : fromUtf8(bytes.subarray(0, second + 1));
  if (head === null) throw invalidSignature(SIGNATURE, 'it has no comment and line of base64 before the message');
  const message = bytes.slice(second + 1);
  if (message.length > MAX_SIGNIFY_MESSAGE) throw invalidSignature(SIGNATURE, 'the message is too long');
  return { sig: parseSignify(head), message };
}

/** @param number the one of a key that signify made; keys made here have theirs from the key */
export function verifySignify(sig: Signify, publicKey: Uint8Array, message: Uint8Array, number = signifyKeyNumber(publicKey)): boolean {
  return sameBytes(sig.keyNumber, number) && verifyEd25519(publicKey, message, sig.signature);
}

function readHead(text: string, length: number): { comment: string; keyNumber: Uint8Array; value: Uint8Array } | null {
  const [first = '', second = '', end, more] = text.split('\n');
  const comment = readUntrustedLine(first);
  const bytes = readBase64Line(second, ALGORITHM.length + KEY_NUMBER_BYTES + length);
  if (comment === null || bytes === null || end !== '' || more !== undefined) return null;
  if (!ALGORITHM.every((byte, index) => byte === bytes[index])) return null;
  return { comment, keyNumber: bytes.slice(2, 2 + KEY_NUMBER_BYTES), value: bytes.slice(2 + KEY_NUMBER_BYTES) };
}
