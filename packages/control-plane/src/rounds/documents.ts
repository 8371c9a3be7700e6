/** Signed documents in the database: on the disk before they are acknowledged, logged afterwards, each once. */
import { createHash, verify } from 'node:crypto';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { pae } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { publicKeyFromSpki } from '@lockstep/protocol/key/p256';
import type { LoggedEntry } from '@lockstep/protocol/quorum/redecide';
import type { SignedDocumentJson } from '@lockstep/api/values';
import type { Database, Writes } from '../database/database.ts';
import type { Farm, SignedDocument } from '../farm.ts';

/** What a signature is made over, hashed: the document's name everywhere. */
export function documentDigest(document: Pick<SignedDocument, 'payloadType' | 'payload'>): Sha256 {
  return createHash('sha256').update(pae(document.payloadType, document.payload)).digest('hex') as Sha256;
}

/** Checks the signature. @throws LockstepError ENVELOPE_INVALID, KEY_INVALID */
export function readSigned(json: SignedDocumentJson): SignedDocument {
  const document = {
    payloadType: json.payloadType,
    payload: new Uint8Array(Buffer.from(json.payload, 'base64')),
    signature: new Uint8Array(Buffer.from(json.signature, 'base64')),
    signer: publicKeyFromSpki(new Uint8Array(Buffer.from(json.key, 'base64'))),
  };
  if (!isSigned(document))
    throw new LockstepError(
      'ENVELOPE_INVALID',
      'The signature does not verify with the key that came with it',
      'Sign the document again, as it is sent.',
    );
  return document;
}

/** OpenSSL, which is some twenty times faster than portable code; log and verifiers check again, each with its own. */
function isSigned({ payloadType, payload, signature, signer }: SignedDocument): boolean {
  try {
    return verify(
      'sha256',
      pae(payloadType, payload),
      { key: Buffer.from(signer.spki), format: 'der', type: 'spki', dsaEncoding: 'der' },
      signature,
    );
  } catch {
    return false;
  }
}

/** The same document by the same signer is kept once. */
export async function keepDocument(
  tx: Writes,
  farm: Farm,
  job: string,
  document: SignedDocument,
  logIndex: number | null = null,
): Promise<Sha256> {
  const digest = documentDigest(document);
  await tx
    .insertInto('documents')
    .values({
      job,
      digest,
      payload_type: document.payloadType,
      payload: document.payload,
      signature: document.signature,
      key: document.signer.spki,
      signer: document.signer.id,
      accepted_at: farm.now(),
      log_index: logIndex,
    })
    .onConflict((conflict) => conflict.columns(['digest', 'signer']).doNothing())
    .execute();
  return digest;
}

/** What the log has about a job, as the quorum takes it. Of jobs that were decided long ago only the log has it still (tidy). */
export async function loggedEntries(farm: Farm, db: Database['reads'] | Writes, job: string): Promise<LoggedEntry[]> {
  const rows = await db
    .selectFrom('documents')
    .selectAll()
    .where('job', '=', job)
    .where('log_index', 'is not', null)
    .orderBy('log_index')
    .execute();
  return rows.flatMap((row) =>
    row.payload === null || row.log_index === null
      ? []
      : [
          {
            index: row.log_index,
            payloadType: row.payload_type,
            payload: new Uint8Array(row.payload),
            digest: row.digest as Sha256,
            signer: row.signer as Sha256,
            origin: farm.log.origin,
          },
        ],
  );
}
