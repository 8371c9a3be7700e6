/** Heartbeats, and leases that end: by silence, by failure, because nobody wants the work any more. */
import type { Failure } from '@lockstep/api/routes/jobs';
import type { Writes } from '../database/database.ts';
import { CHANGED, type Farm } from '../farm.ts';
import { type Attempt, heldAttempt, heldWithJob, type LeaseProof } from './held.ts';

/** Times that one builder may fail in one round by what is around the build. */
const MOST_FAILURES = 4;

/** @returns until when it is leased. @throws LockstepError LEASE_STALE */
export function heartbeat(farm: Farm, proof: LeaseProof): Promise<number> {
  return farm.database.write(async (tx) => {
    const attempt = await heldAttempt(farm.database, tx, proof, ['leased', 'committed']);
    const expires = farm.now() + farm.limits.leaseSeconds * 1000;
    if (attempt.state === 'leased')
      await tx.updateTable('attempts').set({ expires_at: expires }).where('attempt', '=', attempt.attempt).execute();
    return expires;
  });
}

/** A builder says that it came to no result. @throws LockstepError LEASE_STALE */
export async function failAttempt(farm: Farm, proof: LeaseProof, failure: Failure): Promise<void> {
  await farm.database.write(async (tx) => {
    const { attempt } = await heldWithJob(farm.database, tx, proof, ['leased', 'failed']);
    // Said again: the answer was lost.
    if (attempt.state === 'failed') return;
    await endAttempt(farm, tx, attempt, 'failed', failure);
  });
  farm.metrics.leases.inc({ outcome: `failed-${failure.who}` });
  farm.database.notify(CHANGED.jobs);
}

/** Attempts of builders that have fallen silent: their tasks are offered again. @returns how many */
export async function expireLeases(farm: Farm): Promise<number> {
  const now = farm.now();
  const late = await farm.database.reads
    .selectFrom('attempts')
    .select(['attempt', 'job'])
    .where('state', '=', 'leased')
    .where('expires_at', '<', now)
    .limit(500)
    .execute();
  let ended = 0;
  for (const { attempt, job } of late) if (await expireOne(farm, attempt, job, now)) ended++;
  if (ended > 0) {
    farm.metrics.leases.inc({ outcome: 'expired' }, ended);
    farm.database.notify(CHANGED.jobs);
  }
  return ended;
}

function expireOne(farm: Farm, number: number, job: string, now: number): Promise<boolean> {
  return farm.database.write(async (tx) => {
    if ((await farm.database.lock(tx.selectFrom('jobs').select('job').where('job', '=', job), 'skip').executeTakeFirst()) === undefined)
      return false;
    const attempt = await farm.database
      .lock(
        tx.selectFrom('attempts').selectAll().where('attempt', '=', number).where('state', '=', 'leased').where('expires_at', '<', now),
        'skip',
      )
      .executeTakeFirst();
    if (attempt === undefined) return false;
    await endAttempt(farm, tx, attempt, 'expired', {
      who: 'farm',
      code: 'BUILDER_SILENT',
      message: `${attempt.builder} was not heard of for ${farm.limits.leaseSeconds} s`,
      hint: 'The work is offered again.',
    });
    return true;
  });
}

/** Jobs that were offered to builders that are not there any more: looked at by `advance`. @returns how many */
export async function findAbandoned(farm: Farm): Promise<number> {
  const now = farm.now();
  const rows = await farm.database.reads
    .selectFrom('tasks')
    .innerJoin('jobs', (join) => join.onRef('jobs.job', '=', 'tasks.job').onRef('jobs.round', '=', 'tasks.round'))
    .innerJoin('builders', 'builders.name', 'tasks.builder')
    .select('jobs.job')
    .distinct()
    .where('tasks.state', '=', 'offered')
    .where('jobs.state', '=', 'building')
    .where('jobs.due', '=', 0)
    .whereRef('jobs.taken', '<', 'jobs.quorum')
    .where((where) =>
      where.or([where('builders.last_seen', '<', now - farm.limits.aliveSeconds * 1000), where('builders.state', '!=', 'active')]),
    )
    .limit(200)
    .execute();
  if (rows.length === 0) return 0;
  await farm.database.write((tx) =>
    tx
      .updateTable('jobs')
      .set({ due: 1 })
      .where(
        'job',
        'in',
        rows.map((one) => one.job),
      )
      .execute(),
  );
  return 0;
}

/** A builder that fails by itself is not asked again at once; one whose build fails is not asked again in this round. */
async function endAttempt(farm: Farm, tx: Writes, attempt: Attempt, state: 'failed' | 'expired', failure: Failure): Promise<void> {
  const now = farm.now();
  await tx
    .updateTable('attempts')
    .set({ state, ended_at: now, failure: JSON.stringify(failure) })
    .where('attempt', '=', attempt.attempt)
    .execute();
  const { count } = await tx
    .selectFrom('attempts')
    .select((expression) => expression.fn.countAll<number>().as('count'))
    .where('job', '=', attempt.job)
    .where('round', '=', attempt.round)
    .where('builder', '=', attempt.builder)
    .where('failure', 'is not', null)
    .executeTakeFirstOrThrow();
  const failures = Number(count);
  const again = failure.who === 'farm' && failures < MOST_FAILURES;
  const changed = await tx
    .updateTable('tasks')
    .set({ state: again ? 'offered' : 'failed', not_before: now + (again ? farm.limits.backoffSeconds * 1000 * 2 ** (failures - 1) : 0) })
    .where('job', '=', attempt.job)
    .where('round', '=', attempt.round)
    .where('builder', '=', attempt.builder)
    .where('attempt', '=', attempt.attempt)
    .where('state', '=', 'leased')
    .executeTakeFirst();
  if (Number(changed.numUpdatedRows) === 0) {
    // A repetition that came to nothing says nothing, and is not tried again.
    await tx
      .updateTable('tasks')
      .set({ state: 'closed' })
      .where('job', '=', attempt.job)
      .where('attempt', '=', attempt.attempt)
      .where('state', '=', 'repeating')
      .execute();
    return;
  }
  await tx
    .updateTable('jobs')
    .set((expression) => ({
      taken: expression('taken', '-', 1),
      due: 1,
      updated_at: now,
      reason: `${attempt.builder} ${state === 'expired' ? 'has fallen silent' : `failed: ${failure.message.slice(0, 200)}`}`,
    }))
    .where('job', '=', attempt.job)
    .where('round', '=', attempt.round)
    .execute();
}

/** Nobody wants what is under way: builders hear of it at their next heartbeat. */
export async function cancelAttempts(tx: Writes, job: string, now: number): Promise<void> {
  await tx
    .updateTable('attempts')
    .set({ state: 'cancelled', ended_at: now })
    .where('job', '=', job)
    .where('state', 'in', ['leased', 'committed'])
    .execute();
  await tx
    .updateTable('tasks')
    .set({ state: 'closed' })
    .where('job', '=', job)
    .where('state', 'in', ['offered', 'leased', 'committed', 'repeat', 'repeating'])
    .execute();
}
