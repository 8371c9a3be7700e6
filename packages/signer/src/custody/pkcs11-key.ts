/** Custody in a hardware module over PKCS#11: the key was made inside and cannot be read; only signatures come out. */
import { randomBytes } from 'node:crypto';
import { KeyInToken } from './key-in-token.ts';
import { custodyError, loadPkcs11 } from './pkcs11-module.ts';
import { closeSession, keysIn, openSession, type TokenKey } from './pkcs11-session.ts';
import type { SigningKey } from './signing-key.ts';
import { openHeld, type Pkcs11KeyPlace } from './token-key-handle.ts';

/** @throws LockstepError HOST_CANNOT, CUSTODY_FAILED, PASSPHRASE_WRONG, KEY_INVALID */
export async function openPkcs11Key(place: Pkcs11KeyPlace): Promise<SigningKey> {
  const module = await loadPkcs11(place.module);
  const key = new KeyInToken(place, await openHeld(place, null));
  try {
    // The token says which public key belongs to the private one: believed after a signature over bytes that nobody chose.
    const challenge = Buffer.concat([Buffer.from('lockstep custody check v1\0'), randomBytes(32)]);
    await key.sign(challenge);
    return key;
  } catch (error) {
    await key.close();
    throw custodyError(module, error);
  }
}

/** The keys of a token that has this label, and what may be done with them. @throws as openPkcs11Key */
export async function listPkcs11Keys(
  place: Pick<Pkcs11KeyPlace, 'module' | 'tokenLabel' | 'pin'>,
): Promise<readonly Omit<TokenKey, 'handle'>[]> {
  const module = await loadPkcs11(place.module);
  const session = await openSession(module, place.tokenLabel, place.pin);
  try {
    return keysIn(session, null).map(({ label, id, public: key, stays }) => ({ label, id, public: key, stays }));
  } catch (error) {
    throw custodyError(module, error);
  } finally {
    closeSession(session);
  }
}
