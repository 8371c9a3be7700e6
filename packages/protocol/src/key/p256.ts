/** ECDSA P-256 keys and signatures: the builders' attestation keys (Rekor v2 takes no pure Ed25519 over a digest). */
import { p256 } from '@noble/curves/nist.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { type Sha256, sha256Hex } from '../digest/digest.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { spkiFromPem, spkiToPem } from './pem.ts';

/** SubjectPublicKeyInfo of RFC 5480 for id-ecPublicKey, prime256v1, up to the uncompressed point. */
const SPKI_PREFIX = Uint8Array.from([
  0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
  0x03, 0x42, 0x00,
]);
const SPKI_LENGTH = SPKI_PREFIX.length + 65;

export interface PublicKey {
  /** SHA-256 of the DER SubjectPublicKeyInfo: the key's identity, whatever name somebody gives it. */
  readonly id: Sha256;
  readonly spki: Uint8Array;
}

/** @throws LockstepError KEY_INVALID */
export function publicKeyFromSpki(spki: Uint8Array): PublicKey {
  const prefixOk = spki.length === SPKI_LENGTH && SPKI_PREFIX.every((byte, index) => byte === spki[index]);
  if (!prefixOk || !isPoint(spki.subarray(SPKI_PREFIX.length))) {
    throw new LockstepError('KEY_INVALID', 'The key is not an ECDSA P-256 public key', 'Give the PEM that "lockstep key" prints.');
  }
  return { id: sha256Hex(spki), spki };
}

/** @throws LockstepError KEY_INVALID */
export function publicKeyFromPem(pem: string): PublicKey {
  return publicKeyFromSpki(spkiFromPem(pem));
}

export function publicKeyToPem(key: PublicKey): string {
  return spkiToPem(key.spki);
}

function isPoint(bytes: Uint8Array): boolean {
  try {
    p256.Point.fromBytes(bytes).assertValidity();
    return true;
  } catch {
    return false;
  }
}

/** @param signature ASN.1 DER, as DSSE and Sigstore carry it. Malformed is false: bad evidence is a result. */
export function verifyP256(key: PublicKey, message: Uint8Array, signature: Uint8Array): boolean {
  return verifyP256Digest(key, sha256(message), signature);
}

/** The same for a SHA-256 that is there already, so that many keys and signatures cost one hash. */
export function verifyP256Digest(key: PublicKey, digest: Uint8Array, signature: Uint8Array): boolean {
  try {
    return p256.verify(signature, digest, key.spki.subarray(SPKI_PREFIX.length), { format: 'der', lowS: false, prehash: false });
  } catch {
    return false;
  }
}
