/**
 * minisign's own secret-key file (minisign 0.11): a comment line, then 158 bytes in base64:
 * "Ed" ‖ KDF "Sc" or zeros ‖ "B2" ‖ salt[32] ‖ opslimit u64 ‖ memlimit u64 ‖ secret[104], where secret is
 * key id[8] ‖ seed[32] ‖ public key[32] ‖ checksum[32], XORed with scrypt's output when there is a KDF, and the checksum
 * is BLAKE2b-256("Ed" ‖ key id ‖ seed ‖ public key). Little-endian. Without a KDF minisign leaves the checksum zero.
 */
import { randomBytes } from 'node:crypto';
import { ed25519 } from '@noble/curves/ed25519.js';
import { blake2b } from '@noble/hashes/blake2.js';
import { fromBase64, toBase64 } from '@lockstep/protocol/bytes/base64';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { AskPassphrase } from './key-file-seal.ts';
import { sameBytes } from './same-bytes.ts';
import { deriveKey, type ScryptParameters, scryptProblem } from './scrypt.ts';
import { limitsOfN, scryptOfLimits, SENSITIVE, type SodiumLimits } from './sodium-scrypt.ts';

export interface MinisignSecret {
  /** Eight bytes, as they are in the file; every signature repeats them. */
  readonly keyId: Uint8Array;
  /** RFC 8032's private key; the caller wipes it. */
  readonly seed: Buffer;
}

/** Two lines: minisign's comments have at most 1024 bytes, and the second line 212. */
export const MAX_MINISIGN_SECRET = 2048;
const BYTES = 158;
const AT = { kdf: 2, checksum: 4, salt: 6, opslimit: 38, memlimit: 46, secret: 54 };
const SECRET_BYTES = 104;
/** libsodium's smallest choice is N = 2^10: the file's user made it, and only reading it costs nobody anything. */
const MIN_MEMORY = 1 << 20;

/** @throws LockstepError KEY_INVALID, PASSPHRASE_WRONG */
export async function readMinisignSecret(file: Uint8Array, passphrase: AskPassphrase): Promise<MinisignSecret> {
  const bytes = decodeLines(file);
  const secret = Buffer.from(bytes.subarray(AT.secret));
  const kdf = bytes.toString('latin1', AT.kdf, AT.checksum);
  try {
    if (kdf === 'Sc') await unlock(bytes, secret, passphrase);
    else if (kdf !== '\0\0') throw invalid('its key derivation is not scrypt');
    const keyId = Uint8Array.from(secret.subarray(0, 8));
    const seed = Buffer.from(secret.subarray(8, 40));
    const right = checksumOf(secret);
    // Zero only where minisign leaves it so: with a KDF the checksum is what tells a right passphrase from a wrong one.
    const checked = sameBytes(right, secret.subarray(72)) || (kdf === '\0\0' && secret.subarray(72).every((byte) => byte === 0));
    const problem = !checked
      ? 'its checksum does not fit'
      : sameBytes(ed25519.getPublicKey(seed), secret.subarray(40, 72))
        ? null
        : 'its public key is not the one of its secret';
    if (problem === null) return { keyId, seed };
    seed.fill(0);
    if (kdf === 'Sc' && !checked)
      throw new LockstepError('PASSPHRASE_WRONG', 'The passphrase does not open the minisign key', ONE_AND_SAME);
    throw invalid(problem);
  } finally {
    secret.fill(0);
    bytes.fill(0);
  }
}

const ONE_AND_SAME = 'Give the one with which minisign made it.';

async function unlock(bytes: Buffer, secret: Buffer, ask: AskPassphrase): Promise<void> {
  const parameters = scryptOfLimits({ opslimit: bytes.readBigUInt64LE(AT.opslimit), memlimit: bytes.readBigUInt64LE(AT.memlimit) });
  const problem = scryptProblem(parameters, MIN_MEMORY);
  if (problem !== null) throw invalid(problem);
  const passphrase = await ask();
  if (passphrase === null)
    throw new LockstepError('PASSPHRASE_WRONG', 'The minisign key is encrypted, and no passphrase was given', ONE_AND_SAME);
  await mask(secret, passphrase, bytes.subarray(AT.salt, AT.opslimit), parameters).finally(() => passphrase.fill(0));
}

/**
 * The text of a secret-key file. `passphrase` stays the caller's to wipe; null writes minisign's unencrypted form.
 * @param n scrypt's N where 1 GiB is too much for the machine; minisign reads what the file says
 */
export async function writeMinisignSecret(key: MinisignSecret, passphrase: Uint8Array | null, n?: number): Promise<string> {
  const bytes = Buffer.alloc(BYTES);
  const secret = bytes.subarray(AT.secret);
  secret.set(key.keyId, 0);
  secret.set(key.seed, 8);
  secret.set(ed25519.getPublicKey(key.seed), 40);
  bytes.write('Ed', 0, 'latin1');
  bytes.write('B2', AT.checksum, 'latin1');
  try {
    if (passphrase !== null) await lock(bytes, secret, passphrase, n === undefined ? SENSITIVE : limitsOfN(n));
    return `untrusted comment: minisign ${passphrase === null ? '' : 'encrypted '}secret key\n${toBase64(bytes)}\n`;
  } finally {
    bytes.fill(0);
  }
}

async function lock(bytes: Buffer, secret: Buffer, passphrase: Uint8Array, limits: SodiumLimits): Promise<void> {
  const parameters = scryptOfLimits(limits);
  const problem = scryptProblem(parameters, MIN_MEMORY);
  if (problem !== null) throw invalid(problem);
  secret.set(checksumOf(secret), 72);
  bytes.write('Sc', AT.kdf, 'latin1');
  const salt = randomBytes(32);
  bytes.set(salt, AT.salt);
  bytes.writeBigUInt64LE(limits.opslimit, AT.opslimit);
  bytes.writeBigUInt64LE(limits.memlimit, AT.memlimit);
  await mask(secret, passphrase, salt, parameters);
}

async function mask(secret: Buffer, passphrase: Uint8Array, salt: Uint8Array, parameters: ScryptParameters): Promise<void> {
  const stream = await deriveKey(passphrase, salt, parameters, SECRET_BYTES);
  for (const [index, byte] of stream.entries()) secret[index] = (secret[index] ?? 0) ^ byte;
  stream.fill(0);
}

function checksumOf(secret: Buffer): Uint8Array {
  return blake2b(Buffer.concat([Buffer.from('Ed'), secret.subarray(0, 72)]), { dkLen: 32 });
}

function decodeLines(file: Uint8Array): Buffer {
  const text = file.length <= MAX_MINISIGN_SECRET ? Buffer.from(file).toString('latin1') : '';
  const match = /^untrusted comment: [^\r\n]*\r?\n([A-Za-z0-9+/]{1,300}={0,2})\r?\n?$/.exec(text);
  const decoded = match === null ? null : fromBase64(match[1] ?? '');
  if (decoded?.length !== BYTES) throw invalid('it has not the two lines of one');
  const bytes = Buffer.from(decoded.buffer);
  if (bytes.toString('latin1', 0, 2) === 'Ed' && bytes.toString('latin1', AT.checksum, AT.salt) === 'B2') return bytes;
  bytes.fill(0);
  throw invalid('its algorithms are not Ed25519 and BLAKE2b');
}

function invalid(why: string): LockstepError {
  return new LockstepError(
    'KEY_INVALID',
    `This is not a secret key of minisign: ${why}`,
    'Give the file that "minisign -G" saved (minisign.key).',
  );
}
