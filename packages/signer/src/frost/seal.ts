/**
 * One secret for one holder (spec/frost.md "Sealed shares"): ephemeral X25519, HKDF-SHA256, ChaCha20-Poly1305. The
 * context goes into the key and into the tag, so that a sealed share opens in its own ceremony, from its own sender only.
 */
import { createCipheriv, createDecipheriv, createPrivateKey, createPublicKey, diffieHellman, hkdfSync, type KeyObject } from 'node:crypto';
import { toHex } from '@lockstep/protocol/bytes/hex';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { canonicalBytes } from '@lockstep/protocol/json/canonical';
import { hexBytes } from './point.ts';

/** @returns so many fresh random bytes */
export type Random = (bytes: number) => Uint8Array;

export interface SealContext {
  readonly ceremony: Sha256;
  readonly from: string;
  readonly to: string;
}

export interface Sealed {
  /** The sender's X25519 key for this one share, in hex. */
  readonly ephemeral: string;
  /** Ciphertext and tag, in hex. */
  readonly box: string;
}

const TAG = 16;
/** RFC 8410: everything of a PKCS #8 or SubjectPublicKeyInfo of X25519 but the 32 bytes. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex');
const SPKI_PREFIX = Buffer.from('302a300506032b656e032100', 'hex');

export function boxPublicKey(secret: KeyObject): Uint8Array {
  return new Uint8Array(createPublicKey(secret).export({ type: 'spki', format: 'der' }).subarray(SPKI_PREFIX.length));
}

export function boxSecretKey(secret: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, secret]), format: 'der', type: 'pkcs8' });
}

/** @throws LockstepError CEREMONY_FAILED when the holder's key is one of those with which every secret would be the same */
export function seal(secret: Uint8Array, boxKey: Uint8Array, context: SealContext, random: Random): Sealed {
  const own = boxSecretKey(random(32));
  const ephemeral = boxPublicKey(own);
  const shared = agree(own, boxKey);
  if (shared === null)
    throw new LockstepError(
      'CEREMONY_FAILED',
      `The X25519 key of ${context.to} is not one`,
      `${context.to} has to give a key that it made itself; begin a new ceremony with it.`,
    );
  const { key, nonce } = keysOf(shared, ephemeral, boxKey, context);
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG });
  cipher.setAAD(additional(context), { plaintextLength: secret.length });
  const box = Buffer.concat([cipher.update(secret), cipher.final(), cipher.getAuthTag()]);
  return { ephemeral: toHex(ephemeral), box: toHex(box) };
}

/** null when it was sealed for another holder, from another sender, in another ceremony, or changed. */
export function openSealed(sealed: Sealed, secretKey: KeyObject, context: SealContext): Uint8Array | null {
  const ephemeral = hexBytes(sealed.ephemeral);
  const box = hexBytes(sealed.box);
  const shared = agree(secretKey, ephemeral);
  if (shared === null || box.length < TAG) return null;
  const { key, nonce } = keysOf(shared, ephemeral, boxPublicKey(secretKey), context);
  const decipher = createDecipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG });
  decipher.setAAD(additional(context), { plaintextLength: box.length - TAG });
  decipher.setAuthTag(box.subarray(box.length - TAG));
  const plain = decipher.update(box.subarray(0, box.length - TAG));
  try {
    decipher.final();
    return new Uint8Array(plain);
  } catch {
    plain.fill(0);
    return null;
  }
}

/** null when the result is zero (RFC 7748 section 6.1): the other key is of small order. */
function agree(secret: KeyObject, other: Uint8Array): Uint8Array | null {
  try {
    const publicKey = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, other]), format: 'der', type: 'spki' });
    const shared = diffieHellman({ privateKey: secret, publicKey });
    return shared.every((byte) => byte === 0) ? null : shared;
  } catch {
    return null;
  }
}

/** A key of its own for each ephemeral key: the nonce is never used with another message. */
function keysOf(shared: Uint8Array, ephemeral: Uint8Array, boxKey: Uint8Array, context: SealContext): { key: Buffer; nonce: Buffer } {
  const out = Buffer.from(hkdfSync('sha256', shared, Buffer.concat([ephemeral, boxKey]), additional(context), 44));
  return { key: out.subarray(0, 32), nonce: out.subarray(32) };
}

function additional({ ceremony, from, to }: SealContext): Uint8Array {
  return canonicalBytes({ schema: 'lockstep-frost-sealed/v1', ceremony, from, to });
}
