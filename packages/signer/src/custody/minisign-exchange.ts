/** Keys between minisign's own files and ours. The key id travels too: minisign finds a signature's key by it. */
import { createDurably } from '@lockstep/store/durable';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { fromHex, toHex } from '@lockstep/protocol/bytes/hex';
import { keepInFile, type NewKeyFile, openPkcs8 } from './file-key.ts';
import type { KeyFileHeader } from './key-file-format.ts';
import type { AskPassphrase } from './key-file-seal.ts';
import { MAX_MINISIGN_SECRET, readMinisignSecret, writeMinisignSecret } from './minisign-secret.ts';
import { readPrivateFile } from './private-file.ts';
import { ed25519Pkcs8, ed25519Seed } from './seeded-pkcs8.ts';

/** @throws LockstepError FILE_NOT_FOUND, KEY_INVALID, PASSPHRASE_WRONG */
export async function importMinisignKey(from: string, passphrase: AskPassphrase, to: Omit<NewKeyFile, 'use'>): Promise<KeyFileHeader> {
  const bytes = readPrivateFile(from, MAX_MINISIGN_SECRET);
  const { keyId, seed } = await readMinisignSecret(bytes, passphrase).finally(() => bytes.fill(0));
  const pkcs8 = ed25519Pkcs8(seed);
  seed.fill(0);
  try {
    return await keepInFile(pkcs8, { ...to, use: 'release-minisign', minisignKeyId: toHex(keyId) });
  } finally {
    pkcs8.fill(0);
  }
}

/**
 * @param to.keyId for a key that did not come from minisign: the id that its public key was published with
 * @throws LockstepError FILE_NOT_FOUND, KEY_INVALID, PASSPHRASE_WRONG
 */
export async function exportMinisignKey(
  from: string,
  passphrase: AskPassphrase,
  to: { readonly path: string; readonly passphrase: Uint8Array | null; readonly keyId?: Uint8Array; readonly n?: number },
): Promise<void> {
  const { header, pkcs8 } = await openPkcs8(from, passphrase);
  try {
    const seed = ed25519Seed(pkcs8);
    const keyId = to.keyId ?? (header.minisignKeyId === null ? null : fromHex(header.minisignKeyId, 8));
    if (header.use !== 'release-minisign' || seed === null)
      throw new LockstepError(
        'KEY_INVALID',
        `The key ${header.name} is for ${header.use}, not for minisign`,
        'Export a key of the use release-minisign.',
      );
    if (keyId?.length !== 8)
      throw new LockstepError(
        'KEY_INVALID',
        `The key ${header.name} has no key id of minisign's`,
        'Give the one that its public key has: eight bytes.',
      );
    if (!createDurably(to.path, await writeMinisignSecret({ keyId, seed }, to.passphrase, to.n), 0o600))
      throw new LockstepError('KEY_INVALID', `${to.path} is there already`, 'A key is never written over: give another name.');
  } finally {
    pkcs8.fill(0);
  }
}
