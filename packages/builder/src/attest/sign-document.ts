/** Signs one of our documents (protocol/commitment/documents) with a key from a file that has to be there. */
import { existsSync } from 'node:fs';
import { type DocumentKind, formatDocument } from '@lockstep/protocol/dsse/document';
import { pae } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type PublicKey, publicKeyFromSpki } from '@lockstep/protocol/key/p256';
import { openAttestationKey } from './key.ts';

export interface SignedDocument {
  readonly payloadType: string;
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
  readonly signer: PublicKey;
}

/** @throws LockstepError FILE_NOT_FOUND, KEY_INVALID */
export function signDocument<T>(keyFile: string, kind: DocumentKind<T>, value: T): SignedDocument {
  if (!existsSync(keyFile))
    throw new LockstepError('FILE_NOT_FOUND', `${keyFile} does not exist`, `Make the key first: lockstep key make ${keyFile}.`);
  const key = openAttestationKey(keyFile);
  const payload = formatDocument(kind, value);
  return {
    payloadType: kind.payloadType,
    payload,
    signature: key.sign(pae(kind.payloadType, payload)),
    signer: publicKeyFromSpki(new Uint8Array(key.spki)),
  };
}
