/** scrypt (RFC 7914) under bounds: a key file says its own parameters, and whoever wrote the file chose them. */
import { scrypt } from 'node:crypto';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';

export interface ScryptParameters {
  readonly n: number;
  readonly r: number;
  readonly p: number;
}

/** 128 MiB and about half a second: what a person at a signing node does not notice, and a guesser pays for each guess. */
export const DEFAULT_SCRYPT: ScryptParameters = { n: 2 ** 17, r: 8, p: 1 };

/** Below 16 MiB a guess costs a graphics card nothing; a file that says less was not made by this program. */
const MIN_MEMORY = 16 << 20;
/** minisign's own default. A file that asks for more takes the node's memory before its passphrase is even wrong. */
const MAX_MEMORY = 1 << 30;
/** RFC 7914 section 2 recommends 8; more than 32 is only slower. */
const MAX_R = 32;
/** Each is one more pass over the memory: with the bound on memory at most some minutes. */
const MAX_P = 16;

/** What is wrong with them, or null. `minMemory` is lower for formats of others, whose users chose. */
export function scryptProblem({ n, r, p }: ScryptParameters, minMemory = MIN_MEMORY): string | null {
  if (![n, r, p].every((value) => Number.isSafeInteger(value) && value >= 1)) return 'its scrypt parameters are no whole numbers';
  if (n < 2 || !Number.isInteger(Math.log2(n))) return 'scrypt’s N is not a power of two';
  if (r > MAX_R) return `scrypt’s r is more than ${MAX_R}`;
  if (p > MAX_P) return `scrypt’s p is more than ${MAX_P}`;
  if (128 * n * r > MAX_MEMORY) return `scrypt would take more than ${MAX_MEMORY >> 20} MiB`;
  if (128 * n * r < minMemory) return `scrypt would take less than ${minMemory >> 10} KiB, which protects nothing`;
  return null;
}

/** The caller has checked the parameters, and wipes what it gets. @throws LockstepError HOST_CANNOT when the memory is not there */
export function deriveKey(passphrase: Uint8Array, salt: Uint8Array, { n, r, p }: ScryptParameters, length: number): Promise<Buffer> {
  // OpenSSL counts both of RFC 7914's areas: 128·N·r and 128·r·p.
  const maxmem = 128 * r * (n + p) + (1 << 20);
  return new Promise((resolve, reject) => {
    scrypt(passphrase, salt, length, { N: n, r, p, maxmem }, (error, key) => {
      if (error === null) resolve(key);
      else
        reject(
          new LockstepError(
            'HOST_CANNOT',
            `The key cannot be derived from the passphrase: ${error.message}`,
            `scrypt needs ${Math.ceil((128 * n * r) / (1 << 20))} MiB of memory for this key.`,
          ),
        );
    });
  });
}
