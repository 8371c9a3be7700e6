/** Custody in a file: lockstep-key/v1 (key-file-format.ts), mode 0600, encrypted with a passphrase or, at home, as it is. */
import { isoTime } from '@lockstep/protocol/time/iso-time';
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Algorithm, KeyUse } from '@lockstep/protocol/key/key-use';
import { createDurably, writeDurably } from '@lockstep/store/durable';
import { type KeyFile, type KeyFileHeader, MAX_KEY_FILE, parseKeyFile } from './key-file-format.ts';
import { type AskPassphrase, decrypt, protect } from './key-file-seal.ts';
import { algorithmFor, makePkcs8, privateKeyFromPkcs8, signingKeyInMemory } from './private-key.ts';
import { readPrivateFile } from './private-file.ts';
import { sameBytes } from './same-bytes.ts';
import type { ScryptParameters } from './scrypt.ts';
import type { SigningKey } from './signing-key.ts';

export interface NewKeyFile {
  readonly path: string;
  readonly name: string;
  readonly use: KeyUse;
  /** null: none, for the home set-up. Stays the caller's to wipe. */
  readonly passphrase: Uint8Array | null;
  readonly now: Date;
  readonly scrypt?: ScryptParameters;
}

/** Makes a key and its file; never replaces one. @throws LockstepError KEY_INVALID */
export async function makeFileKey(wanted: NewKeyFile & { readonly algorithm?: Algorithm }): Promise<KeyFileHeader> {
  const pkcs8 = makePkcs8(algorithmFor(wanted.name, wanted.use, wanted.algorithm));
  try {
    return await keepInFile(pkcs8, wanted);
  } finally {
    pkcs8.fill(0);
  }
}

/** The same for a key that is there already; the caller wipes `pkcs8`. */
export async function keepInFile(
  pkcs8: Buffer,
  { path, name, use, passphrase, now, scrypt, minisignKeyId = null }: NewKeyFile & { readonly minisignKeyId?: string | null },
): Promise<KeyFileHeader> {
  const { public: key } = privateKeyFromPkcs8(pkcs8);
  algorithmFor(name, use, key.algorithm);
  const created = isoTime(now.getTime() / 1000);
  const header: KeyFileHeader = { name, use, public: key, created, minisignKeyId };
  const bytes = await protect(header, pkcs8, passphrase, scrypt);
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    if (createDurably(path, bytes, 0o600)) return header;
  } finally {
    bytes.fill(0);
  }
  throw new LockstepError(
    'KEY_INVALID',
    `${path} is there already`,
    'A key is never written over: give another name, or move that one away.',
  );
}

/** The public part, without the passphrase. @throws LockstepError FILE_NOT_FOUND, KEY_INVALID */
export function readFileKeyHeader(path: string): KeyFileHeader & { readonly protection: KeyFile['protection'] } {
  const { name, use, public: key, created, minisignKeyId, protection } = readKeyFile(path);
  return { name, use, public: key, created, minisignKeyId, protection };
}

/** @throws LockstepError FILE_NOT_FOUND, KEY_INVALID, PASSPHRASE_WRONG */
export async function openFileKey(path: string, passphrase: AskPassphrase): Promise<SigningKey> {
  const { header, pkcs8 } = await openPkcs8(path, passphrase);
  try {
    return signingKeyInMemory({ ...header, custody: 'file' }, privateKeyFromPkcs8(pkcs8).secret);
  } finally {
    pkcs8.fill(0);
  }
}

/**
 * Replaces the file whole; a crash leaves the old one or the new one. What the disk keeps of the old file, it keeps: after
 * a passphrase got out, the key is to be rotated.
 * @throws LockstepError FILE_NOT_FOUND, KEY_INVALID, PASSPHRASE_WRONG
 */
export async function changePassphrase(path: string, old: AskPassphrase, next: AskPassphrase, scrypt?: ScryptParameters): Promise<void> {
  const { header, pkcs8 } = await openPkcs8(path, old);
  const passphrase = await next();
  try {
    const bytes = await protect(header, pkcs8, passphrase, scrypt);
    writeDurably(path, bytes, 0o600);
    bytes.fill(0);
  } finally {
    pkcs8.fill(0);
    passphrase?.fill(0);
  }
}

/** The secret itself, for who writes it in another format. The caller wipes it. @throws as openFileKey */
export async function openPkcs8(
  path: string,
  passphrase: AskPassphrase,
): Promise<{ readonly header: KeyFileHeader; readonly pkcs8: Buffer }> {
  const file = readKeyFile(path);
  const pkcs8 = file.protection === 'none' ? Buffer.from(file.pkcs8.buffer) : await decrypt(path, file, file, passphrase);
  // Without encryption nothing else ties the public key, by which the key is known, to the secret.
  if (sameBytes(privateKeyFromPkcs8(pkcs8).public.spki, file.public.spki)) return { header: file, pkcs8 };
  pkcs8.fill(0);
  throw new LockstepError('KEY_INVALID', `${path} holds another private key than its public key says`, 'Restore it from a backup.');
}

function readKeyFile(path: string): KeyFile {
  const bytes = readPrivateFile(path, MAX_KEY_FILE);
  try {
    return parseKeyFile(bytes, path);
  } finally {
    bytes.fill(0);
  }
}
