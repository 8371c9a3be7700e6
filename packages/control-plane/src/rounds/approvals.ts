/**
 * Approvals on their way into the log. The control plane holds no key that can approve, and does not decide whose approval
 * counts: it takes what is well-formed and signed, and about what was agreed on here.
 */
import { IN_TOTO_PAYLOAD, pae } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { isTable } from '@lockstep/protocol/decode/decode';
import { parseJson } from '@lockstep/protocol/json/parse';
import { anyKeyFromSpki, type AnyKey, verifySignature } from '@lockstep/protocol/key/any-key';
import { carry, CARRIED } from '@lockstep/protocol/release/carried';
import { KEY_CHANGE, KEY_REVOCATION } from '@lockstep/protocol/release/key-documents';
import { readIfKind } from '@lockstep/protocol/release/read-if-kind';
import { RELEASE } from '@lockstep/protocol/release/release-record';
import { BUILD_URN } from '@lockstep/protocol/release/vsa';
import type { ApprovalEnvelopeJson } from '@lockstep/api/values';
import { CHANGED, type Farm, type SignedDocument } from '../farm.ts';
import { findJob } from '../jobs/find-job.ts';
import { keepDocument } from './documents.ts';

/** @throws LockstepError DOCUMENT_INVALID, ENVELOPE_INVALID, KEY_INVALID, NOT_FOUND, JOB_STATE */
export async function takeApproval(farm: Farm, json: ApprovalEnvelopeJson): Promise<{ job: string | null }> {
  const payload = new Uint8Array(Buffer.from(json.payload, 'base64'));
  const { payloadType } = json;
  const message = pae(payloadType, payload);
  const signatures = json.signatures.map(({ key, sig }) => ({
    key: anyKeyFromSpki(new Uint8Array(Buffer.from(key, 'base64'))),
    sig: new Uint8Array(Buffer.from(sig, 'base64')),
  }));
  if (signatures.some(({ key, sig }) => !verifySignature(key, message, sig)))
    throw new LockstepError(
      'ENVELOPE_INVALID',
      'A signature does not verify with the key that came with it',
      'Send the answer of the node as it came.',
    );
  const buildId = buildOf(payloadType, payload);
  const documents = documentsOf(farm, { payloadType, payload }, signatures, buildId);
  if (buildId === null) {
    // Of no job: nothing waits for it, and it stands in the log when this is answered.
    await farm.log.append(documents);
    return { job: null };
  }
  const { job } = await findJob(farm.database.reads, buildId);
  await farm.database.write(async (tx) => {
    for (const document of documents) await keepDocument(tx, farm, job, document);
    await tx.updateTable('jobs').set({ due: 1 }).where('job', '=', job).execute();
  });
  farm.database.notify(CHANGED.jobs);
  return { job };
}

/** The build that it is about; null for a document about keys. */
function buildOf(payloadType: string, payload: Uint8Array): string | null {
  const document = { payloadType, payload };
  if (readIfKind(KEY_CHANGE, document) !== null || readIfKind(KEY_REVOCATION, document) !== null) return null;
  const record = readIfKind(RELEASE, document);
  if (record !== null) return record.build_id;
  const summary = payloadType === IN_TOTO_PAYLOAD ? resourceOf(payload) : null;
  if (summary !== null && summary.startsWith(BUILD_URN)) return summary.slice(BUILD_URN.length);
  throw new LockstepError(
    'DOCUMENT_INVALID',
    'It is no release record, no verification summary, and no change or revocation of a key',
    'lockstep release approve and lockstep key rotate send what is taken here.',
  );
}

function resourceOf(payload: Uint8Array): string | null {
  const json = parseJson(payload, 'verification summary');
  const predicate = isTable(json) ? json['predicate'] : null;
  const uri = predicate !== null && isTable(predicate) ? predicate['resourceUri'] : null;
  return typeof uri === 'string' ? uri : null;
}

/** The log takes P-256 signatures as they are; the coordinator carries the others. */
function documentsOf(
  farm: Farm,
  { payloadType, payload }: { readonly payloadType: string; readonly payload: Uint8Array },
  signatures: readonly { readonly key: AnyKey; readonly sig: Uint8Array }[],
  buildId: string | null,
): SignedDocument[] {
  const isDirect = (key: AnyKey): boolean => key.algorithm === 'ecdsa-p256' && buildId !== null;
  const direct = signatures
    .filter(({ key }) => isDirect(key))
    .map(({ key, sig }): SignedDocument => ({ payloadType, payload, signature: sig, signer: { id: key.id, spki: key.spki } }));
  const others = signatures.filter(({ key }) => !isDirect(key)).map(({ key, sig }) => ({ keyid: key.id, sig }));
  return others.length === 0 ? direct : [...direct, farm.sign(CARRIED, carry({ payloadType, payload, signatures: others }, buildId))];
}
