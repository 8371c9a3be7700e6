/**
 * When builders disagree, each is asked to build again under its own conditions: one that then disagrees with itself has an
 * unstable build (flaky), and the dispute says nothing about conditions or honesty. Advice for arbiters: nothing of it is
 * signed, and it decides nothing.
 */
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import type { Decision } from '@lockstep/protocol/quorum/decision';
import { readClaim } from '@lockstep/protocol/quorum/claim';
import type { Writes } from '../database/database.ts';
import { CHANGED, type Farm } from '../farm.ts';
import type { Job } from '../jobs/find-job.ts';
import { type Attempt, heldWithJob, type LeaseProof } from '../leases/held.ts';

interface RepeatedOutput {
  readonly name: string;
  readonly sha256: string;
}

export async function offerRepeats(tx: Writes, job: Pick<Job, 'job' | 'round'>): Promise<void> {
  await tx
    .updateTable('tasks')
    .set({ state: 'repeat', attempt: null })
    .where('job', '=', job.job)
    .where('round', '=', job.round)
    .where('state', '=', 'revealed')
    .execute();
}

/** @returns whether the builder got its own bytes again. @throws LockstepError LEASE_STALE */
export async function finishRepeat(farm: Farm, proof: LeaseProof, outputs: readonly RepeatedOutput[]): Promise<boolean> {
  const same = await farm.database.write(async (tx) => {
    const { attempt } = await heldWithJob(farm.database, tx, proof, ['leased', 'repeated', 'unstable']);
    if (attempt.state !== 'leased') return attempt.state === 'repeated';
    const said = await statedOutputs(tx, attempt, proof.builder.attestationKey);
    const isSame = said === null || text(said) === text(outputs);
    await tx
      .updateTable('attempts')
      .set({ state: isSame ? 'repeated' : 'unstable', ended_at: farm.now() })
      .where('attempt', '=', attempt.attempt)
      .execute();
    await tx.updateTable('tasks').set({ state: 'closed' }).where('job', '=', attempt.job).where('attempt', '=', attempt.attempt).execute();
    await tell(farm, tx, attempt);
    return isSame;
  });
  farm.database.notify(CHANGED.jobs);
  return same;
}

/** What this builder has revealed in the round. */
async function statedOutputs(tx: Writes, attempt: Attempt, signer: string): Promise<RepeatedOutput[] | null> {
  const revealed = await tx
    .selectFrom('attempts')
    .innerJoin('documents', (join) => join.onRef('documents.digest', '=', 'attempts.statement').onRef('documents.job', '=', 'attempts.job'))
    .select(['documents.payload', 'documents.digest'])
    .where('attempts.job', '=', attempt.job)
    .where('attempts.round', '=', attempt.round)
    .where('attempts.builder', '=', attempt.builder)
    .where('attempts.state', '=', 'revealed')
    .where('documents.signer', '=', signer)
    .executeTakeFirst();
  if (revealed?.payload == null) return null;
  const claim = readClaim(new Uint8Array(revealed.payload), revealed.digest as Sha256, signer as Sha256);
  return claim?.outputs.map(({ name, sha256 }) => ({ name, sha256 })) ?? null;
}

function text(outputs: readonly RepeatedOutput[]): string {
  return outputs
    .map((one) => `${one.sha256} ${one.name}`)
    .sort()
    .join('\n');
}

/** One sentence for the job, once all have answered or will not. */
async function tell(farm: Farm, tx: Writes, attempt: Attempt): Promise<void> {
  const open = await tx
    .selectFrom('tasks')
    .select('builder')
    .where('job', '=', attempt.job)
    .where('state', 'in', ['repeat', 'repeating'])
    .limit(1)
    .executeTakeFirst();
  const job = await tx.selectFrom('jobs').selectAll().where('job', '=', attempt.job).executeTakeFirst();
  if (job?.state !== 'disputed' || job.decision === null) return;
  const tried = await tx
    .selectFrom('attempts')
    .select(['builder', 'state'])
    .where('job', '=', attempt.job)
    .where('round', '=', attempt.round)
    .where('state', 'in', ['repeated', 'unstable'])
    .orderBy('attempt')
    .execute();
  const unstable = [...new Set(tried.filter((one) => one.state === 'unstable').map((one) => one.builder))];
  const decision = JSON.parse(job.decision) as Decision;
  const suspects = decision.suspects.length === 0 ? '' : `; alone would explain it: ${decision.suspects.join(', ')}`;
  const stability =
    unstable.length > 0
      ? `unstable: ${unstable.join(', ')} got other bytes from itself under the same conditions`
      : open === undefined
        ? `each builder gets its own bytes again${suspects}`
        : 'builders repeat it';
  await tx
    .updateTable('jobs')
    .set({
      reason: `${decision.result}: ${decision.reason}; ${stability}`,
      flaky: unstable.length > 0 ? 1 : job.flaky,
      updated_at: farm.now(),
    })
    .where('job', '=', attempt.job)
    .execute();
}
