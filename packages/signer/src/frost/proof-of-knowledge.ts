/**
 * That a participant knows the first coefficient it committed to (FROST, Komlo and Goldberg 2020, figure 1 round 1): without
 * it, the last to speak could choose the group's key. noble checks it too, for all at once; here, to say whose it is.
 */
import { ed25519, ed25519_FROST } from '@noble/curves/ed25519.js';
import { sha512 } from '@noble/hashes/sha2.js';
import { fromHex } from '@lockstep/protocol/bytes/hex';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { parsePoint } from './point.ts';

const CONTEXT = toUtf8('FROST-ED25519-SHA512-v1dkg');

/** @param identifier 32 bytes in hex @param proof R and z */
export function knowsSecret(identifier: string, committed: Uint8Array, proof: Uint8Array): boolean {
  const { Fn } = ed25519_FROST.utils;
  const R = parsePoint(proof.subarray(0, 32));
  const phi = parsePoint(committed);
  const id = fromHex(identifier, 32);
  if (R === null || phi === null || id === null || proof.length !== 64) return false;
  try {
    const z = Fn.fromBytes(proof.subarray(32));
    const challenge = littleEndian(sha512(Uint8Array.from([...CONTEXT, ...id, ...committed, ...proof.subarray(0, 32)])));
    return ed25519.Point.BASE.multiplyUnsafe(z).equals(R.add(phi.multiplyUnsafe(Fn.create(challenge))));
  } catch {
    return false;
  }
}

function littleEndian(bytes: Uint8Array): bigint {
  return bytes.toReversed().reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}
