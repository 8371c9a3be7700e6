/** A private key in the memory of this process: made, read from PKCS#8 (RFC 5958), signing. What file and memory custody stand on. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { promisify } from 'node:util';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type AnyKey, anyKeyFromSpki } from '@lockstep/protocol/key/any-key';
import { type Algorithm, KEY_USES, type KeyUse, mayUse } from '@lockstep/protocol/key/key-use';
import type { CustodyKind, SigningKey } from './signing-key.ts';

const signLater = promisify(
  (digest: 'sha256' | null, message: Uint8Array, key: KeyObject, done: (error: Error | null, signature?: Buffer) => void) =>
    sign(digest, message, key, done),
);

/** Names become file names, lines of a log and words on a screen. */
const KEY_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/;

export function isCustodyName(text: string): boolean {
  return KEY_NAME.test(text);
}

/** The algorithm that was asked for, or the first of the use. @throws LockstepError KEY_INVALID */
export function algorithmFor(name: string, use: KeyUse, asked?: Algorithm): Algorithm {
  if (!isCustodyName(name))
    throw new LockstepError(
      'KEY_INVALID',
      `${JSON.stringify(name.slice(0, 80))} cannot be the name of a key`,
      'Letters, digits, dots, dashes and underscores; at most 64, and no punctuation at either end.',
    );
  const algorithm = asked ?? KEY_USES[use][0];
  if (mayUse(use, algorithm)) return algorithm;
  throw new LockstepError('KEY_INVALID', `A key for ${use} cannot be ${algorithm}`, `Take one of: ${KEY_USES[use].join(', ')}.`);
}

/** PKCS#8 of a new key; the caller wipes it. */
export function makePkcs8(algorithm: Algorithm): Buffer {
  return generate(algorithm).export({ type: 'pkcs8', format: 'der' });
}

function generate(algorithm: Algorithm): KeyObject {
  if (algorithm === 'ed25519') return generateKeyPairSync('ed25519').privateKey;
  if (algorithm === 'ecdsa-p256') return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  return generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 65537 }).privateKey;
}

/** @throws LockstepError KEY_INVALID: of the secret itself, the error says nothing */
export function privateKeyFromPkcs8(pkcs8: Buffer): { readonly secret: KeyObject; readonly public: AnyKey } {
  let secret: KeyObject;
  let spki: Uint8Array;
  try {
    secret = createPrivateKey({ key: pkcs8, type: 'pkcs8', format: 'der' });
    spki = Uint8Array.from(createPublicKey(secret).export({ type: 'spki', format: 'der' }));
  } catch {
    throw new LockstepError('KEY_INVALID', 'The private key cannot be read', 'Restore it from a backup; its file is damaged.');
  }
  return { secret, public: anyKeyFromSpki(spki) };
}

/** Closing drops the last reference; OpenSSL overwrites the secret when it frees it. */
export function signingKeyInMemory(
  about: {
    readonly name: string;
    readonly use: KeyUse;
    readonly custody: CustodyKind;
    readonly public: AnyKey;
    readonly minisignKeyId?: string | null;
  },
  pkcs8Key: KeyObject,
): SigningKey {
  let secret: KeyObject | null = pkcs8Key;
  return {
    name: about.name,
    use: about.use,
    custody: about.custody,
    public: about.public,
    minisignKeyId: about.minisignKeyId ?? null,
    async sign(message) {
      if (secret === null) throw closed(about.name);
      if (about.public.algorithm === 'rsa-2048')
        throw new LockstepError(
          'KEY_INVALID',
          `The key ${about.name} is RSA, and no format here is signed with that yet`,
          'It is held for Secure Boot; sign with a key of another use.',
        );
      const signature = await signLater(about.public.algorithm === 'ed25519' ? null : 'sha256', message, secret);
      if (signature === undefined) throw new LockstepError('CUSTODY_FAILED', `The key ${about.name} did not sign`, 'Try again.');
      return Uint8Array.from(signature);
    },
    close() {
      secret = null;
      return Promise.resolve();
    },
  };
}

export function closed(name: string): LockstepError {
  return new LockstepError('CUSTODY_FAILED', `The key ${name} was closed`, 'Open it again.');
}
