/** What builders upload after the reveal: only bytes that their own statement names. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { isProblem, readProvenance } from '@lockstep/protocol/provenance/read-provenance';
import { CHANGED, type Farm } from '../farm.ts';
import { heldWithJob, type LeaseProof, readHeldAttempt } from '../leases/held.ts';
import { attemptScope, resultKey } from './keys.ts';
import { finishUpload, forgetParts, presentParts, putPart, type Upload } from './parts.ts';

/** @throws LockstepError LEASE_STALE, UPLOAD_INVALID when the statement does not name it */
export async function uploadOf(farm: Farm, proof: LeaseProof, sha256: string): Promise<Upload> {
  const attempt = await readHeldAttempt(farm.database, proof, ['revealed']);
  const row = await farm.database.reads
    .selectFrom('documents')
    .select('payload')
    .where('digest', '=', attempt.statement ?? '')
    .where('signer', '=', proof.builder.attestationKey)
    .executeTakeFirst();
  const read = row?.payload == null ? null : readProvenance(new Uint8Array(row.payload));
  const named =
    read === null || isProblem(read)
      ? []
      : [
          ...read.statement.subject.map((one) => one.digest.sha256),
          ...read.statement.predicate.runDetails.byproducts.map((one) => one.digest.sha256),
        ];
  if (!named.includes(sha256))
    throw new LockstepError(
      'UPLOAD_INVALID',
      `sha256:${sha256} is not named by the statement of attempt ${proof.attempt}`,
      'Upload what the farm asked for.',
    );
  return { scope: attemptScope(proof.attempt), sha256 };
}

export async function uploadState(farm: Farm, proof: LeaseProof, sha256: string): Promise<{ present: string[]; complete: boolean }> {
  const upload = await uploadOf(farm, proof, sha256);
  const complete = (await farm.objects.size(resultKey(sha256))) !== null;
  return { present: complete ? [] : await presentParts(farm.objects, upload), complete };
}

export async function putUploadPart(farm: Farm, proof: LeaseProof, sha256: string, part: string, bytes: Uint8Array): Promise<void> {
  await putPart(farm, await uploadOf(farm, proof, sha256), part, bytes);
  farm.metrics.uploadedBytes.inc(bytes.length);
}

export async function finishResult(farm: Farm, proof: LeaseProof, sha256: string, size: number, parts: readonly string[]): Promise<void> {
  const upload = await uploadOf(farm, proof, sha256);
  await finishUpload(farm, upload, size, parts, resultKey(sha256));
  await farm.database.write(async (tx) => {
    const { attempt: row } = await heldWithJob(farm.database, tx, proof, ['revealed']);
    const wanted = (JSON.parse(row.wanted ?? '[]') as string[]).filter((one) => one !== sha256);
    await tx
      .updateTable('attempts')
      .set({ wanted: JSON.stringify(wanted) })
      .where('attempt', '=', proof.attempt)
      .execute();
    await tx.updateTable('jobs').set({ due: 1 }).where('job', '=', row.job).execute();
  });
  await forgetParts(farm, upload);
  farm.database.notify(CHANGED.jobs);
}
