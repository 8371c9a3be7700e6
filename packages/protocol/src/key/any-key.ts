/** Public keys of every algorithm that a signing node holds, by their SubjectPublicKeyInfo. */
import { type Sha256, sha256Hex } from '../digest/digest.ts';
import { spkiFromPem, spkiToPem } from './pem.ts';
import { ed25519FromSpki, ed25519Spki, verifyEd25519 } from './ed25519.ts';
import type { Algorithm } from './key-use.ts';
import { publicKeyFromSpki, verifyP256 } from './p256.ts';

export interface AnyKey {
  readonly algorithm: Algorithm;
  /** SHA-256 of `spki`: the key's identity, whatever name somebody gives it. */
  readonly id: Sha256;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
}

/** rsaEncryption with a 2048-bit modulus and the exponent 65537 (RFC 3279 section 2.3.1): all but the modulus. */
const RSA_PREFIX = Uint8Array.from([
  0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00, 0x03, 0x82, 0x01, 0x0f,
  0x00, 0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00,
]);
const RSA_SUFFIX = Uint8Array.from([0x02, 0x03, 0x01, 0x00, 0x01]);

export function ed25519Key(publicKey: Uint8Array): AnyKey {
  const spki = ed25519Spki(publicKey);
  return { algorithm: 'ed25519', id: sha256Hex(spki), spki };
}

/** The 32 bytes of an Ed25519 key. @throws TypeError when it is another kind */
export function rawEd25519(key: AnyKey): Uint8Array {
  const raw = ed25519FromSpki(key.spki);
  if (raw === null) throw new TypeError(`a key of ${key.algorithm} has no 32 bytes`);
  return raw;
}

/** @throws LockstepError KEY_INVALID */
export function anyKeyFromSpki(spki: Uint8Array): AnyKey {
  if (ed25519FromSpki(spki) !== null) return { algorithm: 'ed25519', id: sha256Hex(spki), spki };
  if (isRsa2048(spki)) return { algorithm: 'rsa-2048', id: sha256Hex(spki), spki };
  const { id } = publicKeyFromSpki(spki);
  return { algorithm: 'ecdsa-p256', id, spki };
}

/** @throws LockstepError KEY_INVALID */
export function anyKeyFromPem(pem: string): AnyKey {
  return anyKeyFromSpki(spkiFromPem(pem));
}

export function anyKeyToPem(key: AnyKey): string {
  return spkiToPem(key.spki);
}

/** Ed25519 over the message (RFC 8032), ECDSA in DER over its SHA-256. Malformed is false, and so is RSA: nothing here is signed by it. */
export function verifySignature(key: AnyKey, message: Uint8Array, signature: Uint8Array): boolean {
  if (key.algorithm === 'ed25519') return verifyEd25519(rawEd25519(key), message, signature);
  return key.algorithm === 'ecdsa-p256' && verifyP256({ id: key.id, spki: key.spki }, message, signature);
}

function isRsa2048(spki: Uint8Array): boolean {
  return (
    spki.length === RSA_PREFIX.length + 256 + RSA_SUFFIX.length &&
    RSA_PREFIX.every((byte, index) => byte === spki[index]) &&
    RSA_SUFFIX.every((byte, index) => byte === spki[spki.length - RSA_SUFFIX.length + index])
  );
}
