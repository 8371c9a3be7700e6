/**
 * Randomness for one nonce, bound to what it is for. A virtual machine that is restored twice from one memory image gets
 * the same "random" bytes twice; in another session, or for another message, this still gives other nonces.
 */
import { createHmac } from 'node:crypto';
import { type Sha256, sha256Hex } from '@lockstep/protocol/digest/digest';
import { canonicalBytes } from '@lockstep/protocol/json/canonical';
import type { Random } from './seal.ts';

/** @returns at most 32 bytes each time, as nonce_generate of RFC 9591 section 4.1 asks for */
export function hedgedRandom(random: Random, session: Sha256, index: number, message: Uint8Array): Random {
  let drawn = 0;
  const digest = sha256Hex(message);
  return (bytes) => {
    const purpose = canonicalBytes({ schema: 'lockstep-frost-nonce/v1', session, index, message: digest, drawn: drawn++ });
    return new Uint8Array(createHmac('sha256', random(32)).update(purpose).digest()).subarray(0, bytes);
  };
}
