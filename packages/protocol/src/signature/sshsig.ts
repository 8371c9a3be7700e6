/**
 * SSH signatures (OpenSSH's PROTOCOL.sshsig), Ed25519 and SHA-512 only. The namespace is signed, so that a signature for one
 * purpose is none for another; it says nothing about who the key belongs to, which is what an allowed-signers file is for.
 */
import { concatBytes } from '@noble/hashes/utils.js';
import { fromBase64, toBase64 } from '../bytes/base64.ts';
import { fromUtf8, toUtf8 } from '../bytes/utf8.ts';
import { verifyEd25519 } from '../key/ed25519.ts';
import { sameBytes } from './key-number.ts';
import { invalidSignature, requireSignatureBytes } from './refused.ts';
import { readSshStrings, sshEd25519Blob, sshString } from './ssh-wire.ts';

const FORMAT = 'signature of SSH';
const MAGIC = toUtf8('SSHSIG');
const VERSION = Uint8Array.of(0, 0, 0, 1);
const HASH = 'sha512';
const KEY_TYPE = 'ssh-ed25519';
const PUBLIC_KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const DIGEST_BYTES = 64;
const BEGIN = '-----BEGIN SSH SIGNATURE-----\n';
const END = '-----END SSH SIGNATURE-----\n';
/** ssh-keygen's width. */
const LINE = /.{1,70}/g;
/** A namespace of 255 bytes makes a file of under 900. */
const MAX_FILE = 1000;

export interface Sshsig {
  /** 32 bytes: who claims to have signed. */
  readonly publicKey: Uint8Array;
  readonly namespace: string;
  readonly signature: Uint8Array;
}

/** Nothing that has a meaning in an allowed-signers file: no quote, comma, wildcard or exclamation mark. */
export function isSshNamespace(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._@/+:-]{0,254}$/.test(text);
}

/** What is signed. @throws LockstepError ENVELOPE_INVALID */
export function sshsigMessage(namespace: string, sha512: Uint8Array): Uint8Array {
  if (!isSshNamespace(namespace)) throw invalidSignature(FORMAT, 'the namespace is empty, malformed or too long');
  requireSignatureBytes(FORMAT, 'SHA-512', sha512, DIGEST_BYTES);
  return concatBytes(MAGIC, sshString(namespace), sshString(''), sshString(HASH), sshString(sha512));
}

/** @throws LockstepError ENVELOPE_INVALID */
export function formatSshsig(sig: Sshsig): string {
  if (!isSshNamespace(sig.namespace)) throw invalidSignature(FORMAT, 'the namespace is empty, malformed or too long');
  requireSignatureBytes(FORMAT, 'key', sig.publicKey, PUBLIC_KEY_BYTES);
  requireSignatureBytes(FORMAT, 'signature', sig.signature, SIGNATURE_BYTES);
  const blob = concatBytes(
    MAGIC,
    VERSION,
    sshString(sshEd25519Blob(sig.publicKey)),
    sshString(sig.namespace),
    sshString(''),
    sshString(HASH),
    sshString(concatBytes(sshString(KEY_TYPE), sshString(sig.signature))),
  );
  const lines = toBase64(blob).match(LINE) ?? [];
  return `${BEGIN}${lines.join('\n')}\n${END}`;
}

/** @throws LockstepError ENVELOPE_INVALID */
export function parseSshsig(text: string): Sshsig {
  if (text.length > MAX_FILE) throw invalidSignature(FORMAT, 'it is too long');
  if (!text.startsWith(BEGIN) || !text.endsWith(`\n${END}`)) throw invalidSignature(FORMAT, 'it is not in its armour');
  const blob = fromBase64(text.slice(BEGIN.length, -END.length).replaceAll('\n', ''));
  if (blob === null) throw invalidSignature(FORMAT, 'its base64 is malformed');
  const [key, namespace, , hash, signature] = readSshStrings(blob.subarray(MAGIC.length + VERSION.length), 5) ?? [];
  if (key === undefined || namespace === undefined || hash === undefined || signature === undefined)
    throw invalidSignature(FORMAT, 'its fields are malformed');
  if (fromUtf8(hash) !== HASH) throw invalidSignature(FORMAT, 'its hash is not SHA-512');
  const publicKey = readSshStrings(key, 2)?.[1];
  const bytes = readSshStrings(signature, 2)?.[1];
  if (publicKey === undefined || bytes === undefined) throw invalidSignature(FORMAT, 'its key is not Ed25519');
  const parsed = { publicKey, namespace: fromUtf8(namespace) ?? '', signature: bytes };
  // One spelling: this also compares magic, version, reserved, key types and the width of the lines.
  if (formatSshsig(parsed) !== text) throw invalidSignature(FORMAT, 'it is not written as ssh-keygen writes one of Ed25519');
  return parsed;
}

/** Whether this key, in this namespace, signed the file with this digest. */
export function verifySshsig(sig: Sshsig, publicKey: Uint8Array, namespace: string, sha512: Uint8Array): boolean {
  return (
    sameBytes(sig.publicKey, publicKey) &&
    sig.namespace === namespace &&
    isSshNamespace(namespace) &&
    sha512.length === DIGEST_BYTES &&
    verifyEd25519(publicKey, sshsigMessage(namespace, sha512), sig.signature)
  );
}
