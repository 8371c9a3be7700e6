/** PKCS#8 (RFC 5958) of a key whose secret is given: Ed25519 (RFC 8410 section 7) and P-256 (RFC 5915). The caller wipes it. */
import { p256 } from '@noble/curves/nist.js';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Algorithm } from '@lockstep/protocol/key/key-use';

/** PrivateKeyInfo up to the 32 bytes of RFC 8032's private key. */
const ED25519_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
/** PrivateKeyInfo with id-ecPublicKey and prime256v1, then ECPrivateKey up to its 32 bytes. */
const P256_PREFIX = Buffer.from('308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420', 'hex');
/** [1] BIT STRING: the public point. */
const P256_POINT = Buffer.from('a144034200', 'hex');

/** @param seed 64 uniformly random bytes */
export function pkcs8FromSeed(algorithm: Algorithm, seed: Uint8Array): Buffer {
  if (algorithm === 'ed25519') return ed25519Pkcs8(seed.subarray(0, 32));
  if (algorithm === 'ecdsa-p256') return p256Pkcs8(seed.subarray(0, 48));
  throw new LockstepError(
    'KEY_INVALID',
    'An RSA key is not made from a seed',
    'Its primes have to be searched for: make it as a file key with "lockstep key new".',
  );
}

export function ed25519Pkcs8(seed: Uint8Array): Buffer {
  return Buffer.concat([ED25519_PREFIX, seed]);
}

/** The 32 bytes of an Ed25519 key in PKCS#8, or null when it is another. A view: wiped with the whole. */
export function ed25519Seed(pkcs8: Buffer): Buffer | null {
  const at = ED25519_PREFIX.length;
  return pkcs8.length === at + 32 && pkcs8.subarray(0, at).equals(ED25519_PREFIX) ? pkcs8.subarray(at) : null;
}

/** FIPS 186-5 appendix A.2.1: 384 bits, reduced, so that no scalar is likelier than another by more than 2^-128. */
function p256Pkcs8(extra: Uint8Array): Buffer {
  const scalar = p256.utils.randomSecretKey(extra);
  try {
    return Buffer.concat([P256_PREFIX, scalar, P256_POINT, p256.getPublicKey(scalar, false)]);
  } finally {
    scalar.fill(0);
  }
}
