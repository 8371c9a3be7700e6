/** A key found in a token, with the session that it is used in: what signing needs, until the session is lost. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { AnyKey } from '@lockstep/protocol/key/any-key';
import { type KeyUse, mayUse } from '@lockstep/protocol/key/key-use';
import { custodyError, loadPkcs11 } from './pkcs11-module.ts';
import { type AskPin, closeSession, keysIn, openSession, type TokenKey, type TokenSession } from './pkcs11-session.ts';
import { algorithmFor } from './private-key.ts';
import { sameBytes } from './same-bytes.ts';

export interface Pkcs11KeyPlace {
  /** Absolute path of the vendor's library. */
  readonly module: string;
  readonly tokenLabel: string;
  readonly keyLabel: string;
  readonly name: string;
  readonly use: KeyUse;
  /** Asked when a session begins: once, and once more if the session is lost. */
  readonly pin: AskPin;
}

export interface Held {
  readonly session: TokenSession;
  readonly key: TokenKey;
  readonly public: AnyKey;
}

/** @param expected the public key that it had before: another key under the same label is not the same key */
export async function openHeld(place: Pkcs11KeyPlace, expected: AnyKey | null): Promise<Held> {
  const module = await loadPkcs11(place.module);
  const session = await openSession(module, place.tokenLabel, place.pin);
  try {
    const [key, second] = keysIn(session, place.keyLabel);
    const publicKey = key?.public ?? null;
    const wrong = problemOf(place, key, second, publicKey, expected);
    if (key !== undefined && publicKey !== null && wrong === null) return { session, key, public: publicKey };
    throw new LockstepError(
      'KEY_INVALID',
      wrong ?? 'There is no such key',
      'List the keys of the token: lockstep key list --pkcs11 MODULE.',
    );
  } catch (error) {
    closeSession(session);
    throw custodyError(module, error);
  }
}

function problemOf(
  { keyLabel, tokenLabel, name, use }: Pkcs11KeyPlace,
  key: TokenKey | undefined,
  second: TokenKey | undefined,
  publicKey: AnyKey | null,
  expected: AnyKey | null,
): string | null {
  const label = JSON.stringify(keyLabel);
  if (key === undefined) return `The token ${tokenLabel} has no private key ${label}`;
  if (second !== undefined) return `The token ${tokenLabel} has several private keys ${label}`;
  if (!key.stays) return `The key ${label} can be read out of its token, so the token does not keep it`;
  if (publicKey === null) return `The token has no Ed25519 or P-256 public key beside ${label}`;
  if (expected !== null && !sameBytes(expected.spki, publicKey.spki)) return `The token has another key under ${label} than before`;
  if (!mayUse(use, publicKey.algorithm)) return `The key ${name} is ${publicKey.algorithm}, and ${use} cannot be signed with that`;
  algorithmFor(name, use, publicKey.algorithm);
  return null;
}
