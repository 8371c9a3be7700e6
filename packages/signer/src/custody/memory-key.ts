/** Custody in memory: a key that is made on the node, is on no disk, and is gone when the node stops unless it is sealed. */
import type { Algorithm, KeyUse } from '@lockstep/protocol/key/key-use';
import { keepInFile, type NewKeyFile } from './file-key.ts';
import type { HardwareRandom, RandomSource } from './hardware-random.ts';
import type { KeyFileHeader } from './key-file-format.ts';
import { algorithmFor, closed, privateKeyFromPkcs8, signingKeyInMemory } from './private-key.ts';
import { pkcs8FromSeed } from './seeded-pkcs8.ts';
import type { SigningKey } from './signing-key.ts';

export interface MemoryKey extends SigningKey {
  readonly custody: 'memory';
  /** What its random numbers came from. */
  readonly sources: readonly RandomSource[];
  /** Writes it as a file key, encrypted; the passphrase stays the caller's to wipe. @throws LockstepError KEY_INVALID */
  sealToFile(file: Pick<NewKeyFile, 'path' | 'now' | 'scrypt'> & { readonly passphrase: Uint8Array }): Promise<KeyFileHeader>;
}

/** @throws LockstepError KEY_INVALID, HOST_CANNOT */
export async function makeMemoryKey(wanted: {
  readonly name: string;
  readonly use: KeyUse;
  readonly algorithm?: Algorithm;
  readonly random: HardwareRandom;
}): Promise<MemoryKey> {
  const { name, use } = wanted;
  const algorithm = algorithmFor(name, use, wanted.algorithm);
  const seed = await wanted.random.seed();
  const pkcs8 = made(algorithm, seed.bytes);
  const { secret, public: key } = privateKeyFromPkcs8(pkcs8);
  pkcs8.fill(0);
  const signing = signingKeyInMemory({ name, use, custody: 'memory', public: key }, secret);
  // Kept for sealing only, and dropped with the key.
  let sealable: typeof secret | null = secret;
  return {
    ...signing,
    custody: 'memory',
    sources: seed.sources,
    async sealToFile(file) {
      if (sealable === null) throw closed(name);
      const exported = sealable.export({ type: 'pkcs8', format: 'der' });
      try {
        return await keepInFile(exported, { ...file, name, use });
      } finally {
        exported.fill(0);
      }
    },
    close() {
      sealable = null;
      return signing.close();
    },
  };
}

function made(algorithm: Algorithm, seed: Buffer): Buffer {
  try {
    return pkcs8FromSeed(algorithm, seed);
  } finally {
    seed.fill(0);
  }
}
