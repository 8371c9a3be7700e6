/** A log's or a witness's Ed25519 key, readable by its owner only; a witness has an ML-DSA-44 key besides. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { chmodSync, existsSync, lstatSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { createDurably } from '@lockstep/store/durable';

export interface NoteSigner {
  readonly publicKey: Uint8Array;
  sign(message: Uint8Array): Uint8Array;
}

/** Makes the key where there is none. @throws LockstepError KEY_INVALID */
export function openEd25519Key(path: string): NoteSigner {
  if (!existsSync(path)) {
    const { privateKey } = generateKeyPairSync('ed25519');
    createSecret(path, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
  }
  const key = readPem(path);
  if (key.asymmetricKeyType !== 'ed25519') throw invalid(path, 'is not an Ed25519 key');
  const der = createPublicKey(key).export({ type: 'spki', format: 'der' });
  return { publicKey: new Uint8Array(der.subarray(der.length - 32)), sign: (message) => sign(null, message, key) };
}

/** The 32-byte seed of FIPS 204 section 5.1, in hex. */
export function openMlDsaKey(path: string): NoteSigner {
  if (!existsSync(path)) createSecret(path, `${randomBytes(32).toString('hex')}\n`);
  requirePrivate(path);
  const text = readFileSync(path, 'utf8').trim();
  const seed = Buffer.from(text, 'hex');
  if (!/^[0-9a-f]{64}$/.test(text)) throw invalid(path, 'is not a seed of 32 bytes in hex');
  const { publicKey, secretKey } = ml_dsa44.keygen(seed);
  return { publicKey, sign: (message) => ml_dsa44.sign(message, secretKey, { extraEntropy: randomBytes(32) }) };
}

function createSecret(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  createDurably(path, text, 0o600);
  chmodSync(path, 0o600);
}

function readPem(path: string): KeyObject {
  requirePrivate(path);
  try {
    return createPrivateKey(readFileSync(path));
  } catch (error) {
    throw invalid(path, `is not a private key: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function requirePrivate(path: string): void {
  const mode = lstatSync(path).mode & 0o777;
  if ((mode & 0o077) !== 0) throw invalid(path, `can be read by others (mode ${mode.toString(8)})`);
}

function invalid(path: string, why: string): LockstepError {
  return new LockstepError(
    'KEY_INVALID',
    `${path} ${why}`,
    `Restore it from a backup, with "chmod 600 ${path}". A log cannot change its key.`,
  );
}
