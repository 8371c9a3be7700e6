/** One signature by a token, in the encoding that the rest of the world has, and checked before it leaves. */
import { createHash, createPublicKey, verify } from 'node:crypto';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { AnyKey } from '@lockstep/protocol/key/any-key';
import { within } from './bounded-wait.ts';
import { CKM_EDDSA, derOfRs } from './pkcs11-encoding.ts';
import type { Held } from './token-key-handle.ts';

/** A smart card signs in a second, a module over a network in some; after this it will not. */
const MAX_SIGN_MS = 30_000;
/** Ed25519 has 64 bytes, and P-256 too in PKCS#11. */
const MAX_SIGNATURE = 128;

/** @throws what the library throws; LockstepError CUSTODY_FAILED when it hangs, KEY_INVALID when another key signed */
export async function signIn({ session: { module, handle }, key, public: publicKey }: Held, message: Uint8Array): Promise<Uint8Array> {
  const { library, api } = module;
  const isEd25519 = publicKey.algorithm === 'ed25519';
  // CKM_ECDSA signs what it is given: the digest is ours to make.
  const data = isEd25519 ? Buffer.from(message) : createHash('sha256').update(message).digest();
  library.C_SignInit(handle, { mechanism: isEd25519 ? CKM_EDDSA : api.CKM_ECDSA }, key.handle);
  const signed = await within(
    MAX_SIGN_MS,
    module.inside(() => library.C_SignAsync(handle, data, Buffer.alloc(MAX_SIGNATURE))),
  );
  if (signed === null)
    throw new LockstepError('CUSTODY_FAILED', `The token did not sign within ${MAX_SIGN_MS} ms`, 'Look at the token, and ask again.');
  const signature = isEd25519 ? Uint8Array.from(signed) : derOfRs(signed);
  // Checked before it leaves: a token may be faulty, or have been exchanged for another since it was opened.
  if (signature !== null && isBy(publicKey, message, signature)) return signature;
  throw new LockstepError(
    'KEY_INVALID',
    `The token did not sign with the key whose public part it shows: ${key.label}`,
    'Is the public key beside it its own, and the token the one that it was?',
  );
}

function isBy({ algorithm, spki }: AnyKey, message: Uint8Array, signature: Uint8Array): boolean {
  const key = createPublicKey({ key: Buffer.from(spki), type: 'spki', format: 'der' });
  return verify(algorithm === 'ed25519' ? null : 'sha256', message, key, signature);
}
