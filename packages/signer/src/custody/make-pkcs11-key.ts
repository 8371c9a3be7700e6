/** A key made inside a hardware module: sensitive, not extractable, kept by the token. */
import { randomBytes } from 'node:crypto';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Algorithm } from '@lockstep/protocol/key/key-use';
import type { Template } from 'pkcs11js';
import { CKK_EC_EDWARDS, CKM_EC_EDWARDS_KEY_PAIR_GEN, EC_PARAMS, type TokenAlgorithm } from './pkcs11-encoding.ts';
import { openPkcs11Key } from './pkcs11-key.ts';
import { codeOf, custodyError, loadPkcs11, type Pkcs11Module } from './pkcs11-module.ts';
import { closeSession, keysIn, openSession, type TokenSession } from './pkcs11-session.ts';
import { algorithmFor } from './private-key.ts';
import type { SigningKey } from './signing-key.ts';
import type { Pkcs11KeyPlace } from './token-key-handle.ts';

/** CKA_ID tells the pair of private and public key from others. */
const ID_BYTES = 16;

/** Makes and opens it; never replaces one of the same label. @throws LockstepError HOST_CANNOT, CUSTODY_FAILED, PASSPHRASE_WRONG, KEY_INVALID */
export async function makePkcs11Key(place: Pkcs11KeyPlace & { readonly algorithm?: Algorithm }): Promise<SigningKey> {
  const algorithm = algorithmFor(place.name, place.use, place.algorithm);
  if (algorithm === 'rsa-2048')
    throw new LockstepError('KEY_INVALID', 'RSA keys are not made in a module', 'Nothing here signs with them yet: keep it in a file.');
  const module = await loadPkcs11(place.module);
  const session = await openSession(module, place.tokenLabel, place.pin);
  try {
    if (keysIn(session, place.keyLabel).length > 0)
      throw new LockstepError(
        'KEY_INVALID',
        `The token ${place.tokenLabel} has a key ${JSON.stringify(place.keyLabel)} already`,
        'A key is never replaced: give another label.',
      );
    await makePair(session, algorithm, place.keyLabel);
  } catch (error) {
    throw custodyError(module, error);
  } finally {
    closeSession(session);
  }
  return await openPkcs11Key(place);
}

async function makePair(session: TokenSession, algorithm: TokenAlgorithm, label: string): Promise<void> {
  const { library, api } = session.module;
  const isEd25519 = algorithm === 'ed25519';
  const both: Template = [
    { type: api.CKA_TOKEN, value: true },
    { type: api.CKA_KEY_TYPE, value: isEd25519 ? CKK_EC_EDWARDS : api.CKK_EC },
    { type: api.CKA_LABEL, value: label },
    { type: api.CKA_ID, value: randomBytes(ID_BYTES) },
  ];
  const privateKey: Template = [
    ...both,
    { type: api.CKA_CLASS, value: api.CKO_PRIVATE_KEY },
    { type: api.CKA_PRIVATE, value: true },
    { type: api.CKA_SENSITIVE, value: true },
    { type: api.CKA_EXTRACTABLE, value: false },
    { type: api.CKA_SIGN, value: true },
  ];
  const mechanism = { mechanism: isEd25519 ? CKM_EC_EDWARDS_KEY_PAIR_GEN : api.CKM_EC_KEY_PAIR_GEN };
  const spellings = EC_PARAMS[algorithm];
  for (const [index, params] of spellings.entries()) {
    const publicKey: Template = [
      ...both,
      { type: api.CKA_CLASS, value: api.CKO_PUBLIC_KEY },
      { type: api.CKA_VERIFY, value: true },
      { type: api.CKA_EC_PARAMS, value: params },
    ];
    try {
      await session.module.inside(() => library.C_GenerateKeyPairAsync(session.handle, mechanism, publicKey, privateKey));
      return;
    } catch (error) {
      if (index === spellings.length - 1 || !dislikesParams(session.module, error)) throw error;
    }
  }
}

/** PKCS#11 2.40 section 2.3: missing among the constants of the binding. */
const CKR_CURVE_NOT_SUPPORTED = 0x140;

/** What modules answer to a curve in a spelling that they do not read. */
function dislikesParams({ api }: Pkcs11Module, error: unknown): boolean {
  const answers: readonly number[] = [
    CKR_CURVE_NOT_SUPPORTED,
    api.CKR_DOMAIN_PARAMS_INVALID,
    api.CKR_ATTRIBUTE_VALUE_INVALID,
    api.CKR_TEMPLATE_INCONSISTENT,
    api.CKR_GENERAL_ERROR,
  ];
  return answers.includes(codeOf(error));
}
