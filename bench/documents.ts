/** Signed documents to put into a log: what builders sign, with the timing of the log free of their signing. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { pae } from '@lockstep/protocol/dsse/envelope';
import { type PublicKey, publicKeyFromSpki } from '@lockstep/protocol/key/p256';
import { type CheckedSubmission, checkSubmission, type Submission } from '@lockstep/log/sequence/submission';

export interface SigningKey {
  readonly privateKey: KeyObject;
  readonly key: PublicKey;
}

export function makeSigningKey(): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { privateKey, key: publicKeyFromSpki(new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }))) };
}

export function signedSubmission(by: SigningKey, payloadType: string, payload: Uint8Array): Submission {
  return { payloadType, payload, signature: sign('sha256', pae(payloadType, payload), by.privateKey), signer: by.key };
}

/** About 1 kB each, all different. */
export function smallDocuments(count: number): CheckedSubmission[] {
  const by = makeSigningKey();
  return Array.from({ length: count }, (_, number) => {
    const payload = Buffer.from(JSON.stringify({ number, text: 'x'.repeat(980) }));
    return checkSubmission(signedSubmission(by, 'application/vnd.lockstep.bench+json', payload));
  });
}
