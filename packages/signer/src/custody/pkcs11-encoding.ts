/** How PKCS#11 writes elliptic curves, public points and ECDSA signatures, and how the rest of the world does. */
import { p256 } from '@noble/curves/nist.js';
import { type AnyKey, anyKeyFromSpki, ed25519Key } from '@lockstep/protocol/key/any-key';
import type { Algorithm } from '@lockstep/protocol/key/key-use';

export type TokenAlgorithm = Exclude<Algorithm, 'rsa-2048'>;

/** PKCS#11 3.0: not yet among the constants of every header. */
export const CKK_EC_EDWARDS = 0x40;
export const CKM_EC_EDWARDS_KEY_PAIR_GEN = 0x1055;
export const CKM_EDDSA = 0x1057;

/** CKA_EC_PARAMS, in the order in which they are tried: the object identifier, then the name (PKCS#11 3.0 section 2.3.3). */
export const EC_PARAMS: Readonly<Record<TokenAlgorithm, readonly Buffer[]>> = {
  ed25519: [Buffer.from('06032b6570', 'hex'), Buffer.from('130c656477617264733235353139', 'hex')],
  'ecdsa-p256': [Buffer.from('06082a8648ce3d030107', 'hex')],
};

const P256_SPKI = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex');
const OCTET_STRING = 0x04;

export function algorithmOfParams(params: Uint8Array): TokenAlgorithm | null {
  if (EC_PARAMS.ed25519.some((known) => known.equals(params))) return 'ed25519';
  return EC_PARAMS['ecdsa-p256'].some((known) => known.equals(params)) ? 'ecdsa-p256' : null;
}

/** @returns the key, or null when the point is none. The point is wrapped in an OCTET STRING, or bare as some modules give it. */
export function keyOfPoint(algorithm: TokenAlgorithm, point: Uint8Array): AnyKey | null {
  const length = algorithm === 'ed25519' ? 32 : 65;
  const wrapped = point.length === length + 2 && point[0] === OCTET_STRING && point[1] === length;
  const raw = Uint8Array.from(wrapped ? point.subarray(2) : point);
  if (raw.length !== length) return null;
  if (algorithm === 'ed25519') return ed25519Key(raw);
  try {
    return anyKeyFromSpki(Uint8Array.from([...P256_SPKI, ...raw]));
  } catch {
    return null;
  }
}

/** r ‖ s, 32 bytes each, as ASN.1 DER (RFC 3279 section 2.2.3); null when it is none. */
export function derOfRs(signature: Uint8Array): Uint8Array | null {
  try {
    return p256.Signature.fromBytes(signature, 'compact').toBytes('der');
  } catch {
    return null;
  }
}
