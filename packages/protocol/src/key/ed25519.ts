/** Ed25519 public keys as SubjectPublicKeyInfo (RFC 8410 section 4). */
import { ed25519 } from '@noble/curves/ed25519.js';

const SPKI_PREFIX = Uint8Array.from([0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00]);

export function ed25519Spki(publicKey: Uint8Array): Uint8Array {
  return Uint8Array.from([...SPKI_PREFIX, ...publicKey]);
}

/** 32 bytes, or null when it is another kind of key. */
export function ed25519FromSpki(spki: Uint8Array): Uint8Array | null {
  if (spki.length !== SPKI_PREFIX.length + 32 || !SPKI_PREFIX.every((byte, index) => byte === spki[index])) return null;
  return spki.slice(SPKI_PREFIX.length);
}

/** RFC 8032 section 5.1.7, with canonical encodings required. Malformed is false. */
export function verifyEd25519(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    return signature.length === 64 && ed25519.verify(signature, message, publicKey, { zip215: false });
  } catch {
    return false;
  }
}
