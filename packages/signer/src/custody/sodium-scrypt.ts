/** libsodium's crypto_pwhash_scryptsalsa208sha256: how an opslimit and a memlimit become scrypt's N, r and p, and back. */
import type { ScryptParameters } from './scrypt.ts';

export interface SodiumLimits {
  readonly opslimit: bigint;
  readonly memlimit: bigint;
}

/** minisign's default: 1 GiB, N = 2^20, r = 8, p = 1. */
export const SENSITIVE: SodiumLimits = { opslimit: 33_554_432n, memlimit: 1_073_741_824n };

const MIN_OPSLIMIT = 32_768n;
const R = 8n;

/** libsodium's rule to the letter: fewer operations than memory allows lower N, more of them raise p. */
export function scryptOfLimits({ opslimit, memlimit }: SodiumLimits): ScryptParameters {
  const operations = opslimit < MIN_OPSLIMIT ? MIN_OPSLIMIT : opslimit;
  if (operations < memlimit / 32n) return { n: largestN(operations / (R * 4n)), r: Number(R), p: 1 };
  const n = largestN(memlimit / (R * 128n));
  const rp = operations / 4n / BigInt(n);
  return { n, r: Number(R), p: Number((rp > 0x3fffffffn ? 0x3fffffffn : rp) / R) };
}

/** The smallest power of two above half of `max`, and at least 2. */
function largestN(max: bigint): number {
  let log = 1;
  while (log < 62 && 1n << BigInt(log) <= max / 2n) log++;
  return 2 ** log;
}

/** Limits from which libsodium picks N = n, r = 8, p = 1. */
export function limitsOfN(n: number): SodiumLimits {
  return { opslimit: BigInt(n) * 32n, memlimit: BigInt(n) * 1024n };
}
