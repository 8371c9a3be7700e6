/** What somebody gives to a log: a signed document. Checked before it gets an index, since a log never takes back. */
import { createHash } from 'node:crypto';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { pae } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { PublicKey } from '@lockstep/protocol/key/p256';
import { formatLogEntry } from '@lockstep/protocol/log-entry/log-entry';
import { isSignedStatement } from '../key/entry-signature.ts';
import { MAX_STATEMENT_BYTES } from '../source/log-source.ts';

export interface Submission {
  readonly payloadType: string;
  readonly payload: Uint8Array;
  /** ASN.1 DER over SHA-256 of the pre-authentication encoding. */
  readonly signature: Uint8Array;
  readonly signer: PublicKey;
}

export interface CheckedSubmission {
  readonly submission: Submission;
  readonly entry: Uint8Array;
  /** The pre-authentication encoding: what is published by its digest. */
  readonly statement: Uint8Array;
  readonly digest: Sha256;
}

/** @throws LockstepError LOG_ENTRY_INVALID */
export function checkSubmission(submission: Submission): CheckedSubmission {
  const refuse = (why: string): LockstepError =>
    new LockstepError(
      'LOG_ENTRY_INVALID',
      `The log does not take this document: ${why}`,
      'Give the envelope as its signer wrote it, with the signer’s key.',
    );
  if (submission.payload.length > MAX_STATEMENT_BYTES - 1000) throw refuse('it is larger than 32 MiB');
  const statement = pae(submission.payloadType, submission.payload);
  const digest = createHash('sha256').update(statement).digest('hex') as Sha256;
  if (!isSignedStatement(submission.signer, statement, submission.signature))
    throw refuse('its signature does not verify with the key given');
  return { submission, entry: formatLogEntry({ digest, signature: submission.signature, key: submission.signer }), statement, digest };
}
