/** Points and scalars of Ed25519 as they stand in our documents: 32 bytes in lower-case hex, canonical (RFC 9591 section 3.1). */
import { ed25519, ed25519_FROST } from '@noble/curves/ed25519.js';
import { fromHex } from '@lockstep/protocol/bytes/hex';
import { type Decoder, text } from '@lockstep/protocol/decode/decode';

type Point = InstanceType<typeof ed25519.Point>;

/** null for what RFC 9591 refuses: off the curve, not canonical, the identity, or not in the subgroup of prime order. */
export function parsePoint(bytes: Uint8Array): Point | null {
  try {
    const point = ed25519.Point.fromBytes(bytes);
    point.assertValidity();
    if (point.is0() || !point.isTorsionFree()) return null;
    return point.toBytes().every((byte, index) => byte === bytes[index]) ? point : null;
  } catch {
    return null;
  }
}

export function isScalar(bytes: Uint8Array): boolean {
  try {
    return !ed25519_FROST.utils.Fn.is0(ed25519_FROST.utils.Fn.fromBytes(bytes));
  } catch {
    return false;
  }
}

const hexOf = (expected: string, length: number, accept: (bytes: Uint8Array) => boolean): Decoder<string> =>
  text(
    expected,
    (hex) => {
      const bytes = fromHex(hex, length);
      return bytes !== null && accept(bytes);
    },
    length * 2,
  );

export const pointHex = hexOf('a point of Ed25519 in hex', 32, (bytes) => parsePoint(bytes) !== null);
export const scalarHex = hexOf('a scalar of Ed25519 in hex', 32, isScalar);
/** R and z: what a proof of knowledge is. */
export const proofHex = hexOf('a proof in hex', 64, (bytes) => parsePoint(bytes.subarray(0, 32)) !== null && isScalar(bytes.subarray(32)));
export const hex32 = hexOf('32 bytes in hex', 32, () => true);

/** The decoders above promise that it is hex. */
export function hexBytes(hex: string): Uint8Array<ArrayBuffer> {
  const bytes = fromHex(hex, hex.length / 2);
  if (bytes === null) throw new TypeError('not hex');
  return Uint8Array.from(bytes);
}

/** The public half of the share at `x`: the commitments of a polynomial, evaluated there (RFC 9591 appendix C.2). null: the identity. */
export function verifyingShare(commitments: readonly Uint8Array[], x: number): Uint8Array | null {
  let sum = ed25519.Point.ZERO;
  for (const bytes of commitments.toReversed()) {
    const point = parsePoint(bytes);
    if (point === null) return null;
    sum = sum.multiplyUnsafe(BigInt(x)).add(point);
  }
  return sum.is0() ? null : sum.toBytes();
}
