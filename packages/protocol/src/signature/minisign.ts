/**
 * minisign signature files ("Signature format"), prehashed only: `ED` over the BLAKE2b-512 of the file. A second signature covers
 * the first one and the trusted comment. The legacy form `Ed` needs the file's bytes and is refused; users verify with `-H`, or a
 * signature relabelled `Ed` would pass for a file that consists of the 64 bytes of the digest.
 */
import { concatBytes } from '@noble/hashes/utils.js';
import { toBase64 } from '../bytes/base64.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import { verifyEd25519 } from '../key/ed25519.ts';
import { isComment, MAX_UNTRUSTED_COMMENT, readBase64Line, readUntrustedLine, untrustedLine } from './comment.ts';
import { KEY_NUMBER_BYTES, sameBytes } from './key-number.ts';
import { minisignKeyId } from './minisign-key.ts';
import { invalidSignature, requireSignatureBytes } from './refused.ts';

const FORMAT = 'minisign signature';
const PREHASHED = toUtf8('ED');
const TRUSTED = 'trusted comment: ';
const SIGNATURE_BYTES = 64;
const DIGEST_BYTES = 64;
/** minisign reads the whole line into 8192 bytes. */
export const MAX_TRUSTED_COMMENT = 8000;
const MAX_FILE = MAX_UNTRUSTED_COMMENT + MAX_TRUSTED_COMMENT + 400;

export interface Minisig {
  /** 8 bytes. */
  readonly keyId: Uint8Array;
  readonly untrustedComment: string;
  /** Over the BLAKE2b-512 of the file. */
  readonly signature: Uint8Array;
  readonly trustedComment: string;
  /** Over `signature` and the trusted comment. */
  readonly globalSignature: Uint8Array;
}

/** What the first signature is over. @throws LockstepError ENVELOPE_INVALID */
export function minisignMessage(blake2b512: Uint8Array): Uint8Array {
  requireSignatureBytes(FORMAT, 'BLAKE2b-512', blake2b512, DIGEST_BYTES);
  return blake2b512.slice();
}

/** What the second signature is over. @throws LockstepError ENVELOPE_INVALID */
export function minisignGlobalMessage(signature: Uint8Array, trustedComment: string): Uint8Array {
  requireSignatureBytes(FORMAT, 'signature', signature, SIGNATURE_BYTES);
  if (!isComment(trustedComment, MAX_TRUSTED_COMMENT)) throw invalidSignature(FORMAT, 'the trusted comment is malformed or too long');
  return concatBytes(signature, toUtf8(trustedComment));
}

export interface MinisignSteps {
  /** To be signed first. */
  readonly message: Uint8Array;
  /** To be signed next, once the first signature is there. */
  globalMessage(signature: Uint8Array): Uint8Array;
  file(signature: Uint8Array, globalSignature: Uint8Array): string;
}

/**
 * The whole making of a file: sign `message`, sign `globalMessage(first)`, write `file(first, second)`.
 * A trusted comment is required: without one the second message would be 64 bytes, like a first.
 * @throws LockstepError ENVELOPE_INVALID
 */
export function minisignSteps(
  what: Pick<Minisig, 'keyId' | 'trustedComment' | 'untrustedComment'> & { readonly blake2b512: Uint8Array },
): MinisignSteps {
  const { blake2b512, trustedComment, ...named } = what;
  if (trustedComment === '') throw invalidSignature(FORMAT, 'the trusted comment is empty');
  const placeholder = new Uint8Array(SIGNATURE_BYTES);
  // Refuses every comment and key id now, before anything is signed.
  formatMinisig({ ...named, trustedComment, signature: placeholder, globalSignature: placeholder });
  return {
    message: minisignMessage(blake2b512),
    globalMessage: (signature) => minisignGlobalMessage(signature, trustedComment),
    file: (signature, globalSignature) => formatMinisig({ ...named, trustedComment, signature, globalSignature }),
  };
}

/** @throws LockstepError ENVELOPE_INVALID */
export function formatMinisig(sig: Minisig): string {
  requireSignatureBytes(FORMAT, 'key id', sig.keyId, KEY_NUMBER_BYTES);
  requireSignatureBytes(FORMAT, 'signature', sig.signature, SIGNATURE_BYTES);
  requireSignatureBytes(FORMAT, 'global signature', sig.globalSignature, SIGNATURE_BYTES);
  const comment = untrustedLine(sig.untrustedComment);
  if (comment === null || !isComment(sig.trustedComment, MAX_TRUSTED_COMMENT))
    throw invalidSignature(FORMAT, 'a comment is malformed or too long');
  const first = toBase64(concatBytes(PREHASHED, sig.keyId, sig.signature));
  return `${comment}${first}\n${TRUSTED}${sig.trustedComment}\n${toBase64(sig.globalSignature)}\n`;
}

/** @throws LockstepError ENVELOPE_INVALID */
export function parseMinisig(text: string): Minisig {
  if (text.length > MAX_FILE) throw invalidSignature(FORMAT, 'it is too long');
  const lines = text.split('\n');
  const [comment = '', first = '', trusted = '', second = '', end] = lines;
  if (lines.length !== 5 || end !== '') throw invalidSignature(FORMAT, 'it has not four lines');
  const untrustedComment = readUntrustedLine(comment);
  const trustedComment = trusted.slice(TRUSTED.length);
  if (untrustedComment === null || !trusted.startsWith(TRUSTED) || !isComment(trustedComment, MAX_TRUSTED_COMMENT))
    throw invalidSignature(FORMAT, 'a comment is missing, malformed or too long');
  const bytes = readBase64Line(first, PREHASHED.length + KEY_NUMBER_BYTES + SIGNATURE_BYTES);
  const globalSignature = readBase64Line(second, SIGNATURE_BYTES);
  if (bytes === null || globalSignature === null) throw invalidSignature(FORMAT, 'its base64 is malformed');
  if (!PREHASHED.every((byte, index) => byte === bytes[index]))
    throw invalidSignature(FORMAT, 'its algorithm is not ED (prehashed); sign with minisign -H');
  const keyId = bytes.slice(2, 2 + KEY_NUMBER_BYTES);
  return { keyId, untrustedComment, signature: bytes.slice(2 + KEY_NUMBER_BYTES), trustedComment, globalSignature };
}

/**
 * Both signatures and the key id, which minisign compares too.
 * @param keyId the one of a key that minisign made; keys made here have theirs from the key
 */
export function verifyMinisig(sig: Minisig, publicKey: Uint8Array, blake2b512: Uint8Array, keyId = minisignKeyId(publicKey)): boolean {
  return (
    blake2b512.length === DIGEST_BYTES &&
    isComment(sig.trustedComment, MAX_TRUSTED_COMMENT) &&
    sameBytes(sig.keyId, keyId) &&
    verifyEd25519(publicKey, blake2b512, sig.signature) &&
    verifyEd25519(publicKey, concatBytes(sig.signature, toUtf8(sig.trustedComment)), sig.globalSignature)
  );
}
