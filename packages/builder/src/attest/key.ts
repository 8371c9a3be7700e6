/** The builder's attestation key: ECDSA P-256, made on first use, readable by its owner only, never visible inside a build. */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { chmodSync, existsSync, lstatSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { createDurably, writeDurably } from '@lockstep/store/durable';
import type { Store } from '@lockstep/store/store';

export interface AttestationKey {
  /** SHA-256 of `spki`: the key's identity. */
  readonly id: string;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  /** ASN.1 DER signature over SHA-256 of the message. */
  sign(message: Uint8Array): Uint8Array;
}

/** Where the key lies unless LOCKSTEP_KEY says otherwise. */
export function defaultKeyFile(store: Store): string {
  return `${store.keys}/attestation.pem`;
}

/** Makes the key where there is none. Two processes that race agree on one. */
export function openAttestationKey(path: string): AttestationKey {
  if (!existsSync(path)) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    createDurably(path, privateKey.export({ type: 'pkcs8', format: 'pem' }), 0o600);
    chmodSync(path, 0o600);
  }
  const mode = lstatSync(path).mode & 0o777;
  if ((mode & 0o077) !== 0)
    throw new LockstepError(
      'KEY_INVALID',
      `${path} can be read by others (mode ${mode.toString(8)})`,
      `chmod 600 ${path}; and if somebody else could have read it, remove it and let a new one be made.`,
    );
  const key = readKey(path);
  const publicKey = createPublicKey(key);
  if (publicKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw new LockstepError('KEY_INVALID', `${path} is not an ECDSA P-256 key`, 'Move it away and let a new one be made.');
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const publicPath = `${path.replace(/\.pem$/, '')}.pub.pem`;
  if (!existsSync(publicPath)) writeDurably(publicPath, publicKey.export({ type: 'spki', format: 'pem' }));
  return { id: createHash('sha256').update(spki).digest('hex'), spki, sign: (message) => sign('sha256', message, key) };
}

function readKey(path: string): KeyObject {
  try {
    return createPrivateKey(readFileSync(path));
  } catch (error) {
    throw new LockstepError(
      'KEY_INVALID',
      `${path} is not a private key: ${error instanceof Error ? error.message : String(error)}`,
      'Restore it from a backup, or remove it and let a new one be made.',
    );
  }
}
