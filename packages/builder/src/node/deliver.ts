/** Says to the farm what was built: the commitment, then what opens it, then the bytes that are wanted. */
import type { FarmClient } from '@lockstep/api/client';
import { formatDocument } from '@lockstep/protocol/dsse/document';
import { pae, parseEnvelope } from '@lockstep/protocol/dsse/envelope';
import { commitmentOf } from '@lockstep/protocol/commitment/commit';
import { COMMITMENT, REVEAL } from '@lockstep/protocol/commitment/documents';
import type { DocumentKind } from '@lockstep/protocol/dsse/document';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { SignedDocumentJson } from '@lockstep/api/values';
import { type AttestationKey, openAttestationKey } from '../attest/key.ts';
import type { Context } from '../context.ts';
import type { KeptResult } from './kept-results.ts';
import { uploadFile } from './upload.ts';

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

/** The salted commitment, or at once the statement where none is asked for. @returns the result as it stands now */
export async function deliver(context: Context, client: FarmClient, result: KeptResult): Promise<KeptResult> {
  if (result.opening === null) return revealResult(context, client, result);
  const key = openAttestationKey(context.settings.keyFile);
  const commitment = commitmentOf({
    opening: result.opening as Sha256,
    key: key.id as Sha256,
    salt: result.salt,
    statement: result.statement,
  });
  const body = signed(key, COMMITMENT, {
    schema: 'lockstep-commitment/v1',
    build_id: result.job,
    round: result.round,
    opening: result.opening,
    commitment,
  });
  await client.call('commit', { params: { attempt: String(result.attempt) }, body, headers: { 'lockstep-lease': result.token } });
  return { ...result, state: 'committed' };
}

/** @returns the result as it stands now; what was wanted is uploaded */
export async function revealResult(context: Context, client: FarmClient, result: KeptResult): Promise<KeptResult> {
  const key = openAttestationKey(context.settings.keyFile);
  const envelope = parseEnvelope(context.store.blobs.read(result.attestation));
  const [signature] = envelope.signatures;
  if (signature === undefined) throw new LockstepError('STORE_CORRUPT', 'The kept attestation has no signature', 'Build again.');
  const statement: SignedDocumentJson = {
    payloadType: envelope.payloadType,
    payload: base64(envelope.payload),
    signature: base64(signature.sig),
    key: base64(key.spki),
  };
  const reveal =
    result.opening === null
      ? null
      : signed(key, REVEAL, {
          schema: 'lockstep-reveal/v1',
          build_id: result.job,
          round: result.round,
          opening: result.opening,
          statement: result.statement,
          salt: result.salt,
        });
  const { wanted } = await client.call('reveal', {
    params: { attempt: String(result.attempt) },
    body: { reveal, statement },
    headers: { 'lockstep-lease': result.token },
  });
  await uploadWanted(context, client, result, wanted);
  return { ...result, state: 'revealed' };
}

export async function uploadWanted(context: Context, client: FarmClient, result: KeptResult, wanted: readonly string[]): Promise<void> {
  for (const sha256 of wanted) {
    // Nothing else leaves this builder, whatever a farm asks for.
    if (!result.blobs.includes(sha256)) continue;
    const params = { attempt: String(result.attempt), sha256 };
    const headers = { 'lockstep-lease': result.token };
    await uploadFile(context.store.blobs.path(sha256 as Sha256), {
      state: () => client.call('uploadState', { params, headers }),
      putPart: (part, bytes) => client.call('putUploadPart', { params: { ...params, part }, body: bytes, headers }),
      finish: (size, parts) => client.call('finishUpload', { params, body: { size, parts: [...parts] }, headers }),
      // Another job may have had the same bytes, or the farm was cut off before it noted that it has them.
      finishAlways: true,
    });
  }
}

function signed<T>(key: AttestationKey, kind: DocumentKind<T>, value: T): SignedDocumentJson {
  const payload = formatDocument(kind, value);
  return {
    payloadType: kind.payloadType,
    payload: base64(payload),
    signature: base64(key.sign(pae(kind.payloadType, payload))),
    key: base64(key.spki),
  };
}
