/** What people do to jobs. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { carriedInputs } from '@lockstep/protocol/definition/carried';
import { decodeDefinition } from '@lockstep/protocol/definition/definition';
import { parseJson } from '@lockstep/protocol/json/parse';
import type { JobState } from '@lockstep/api/routes/jobs';
import { definitionKey } from '../content/keys.ts';
import { CHANGED, type Farm } from '../farm.ts';
import { cancelAttempts } from '../leases/keep.ts';
import type { Submitter } from './submit.ts';
import { findJob } from './find-job.ts';
import { requeue } from './queue.ts';

const MAX_DEFINITION = 16 << 20;

/** @throws LockstepError NOT_FOUND, FORBIDDEN, JOB_STATE */
export async function cancelJob(farm: Farm, by: Submitter, name: string): Promise<JobState> {
  const { job } = await findJob(farm.database.reads, name);
  await requireOwn(farm, by, job);
  await farm.database.write(async (tx) => {
    const row = await farm.database.lock(tx.selectFrom('jobs').select(['state']).where('job', '=', job), 'wait').executeTakeFirstOrThrow();
    if (row.state === 'cancelled') return;
    // What was revealed is public, and will be decided about, by this farm or by anybody who has its log.
    if (!['queued', 'building'].includes(row.state))
      throw jobState(job, `it is ${row.state}`, 'Only what is queued or building can be cancelled.');
    const now = farm.now();
    await cancelAttempts(tx, job, now);
    await tx
      .updateTable('jobs')
      .set({ state: 'cancelled', reason: `cancelled by ${by.name}`, updated_at: now, due: 0 })
      .where('job', '=', job)
      .execute();
  });
  tell(farm, job);
  return 'cancelled';
}

/** @throws LockstepError NOT_FOUND, FORBIDDEN, JOB_STATE */
export async function retryJob(farm: Farm, by: Submitter, name: string): Promise<JobState> {
  const { job } = await findJob(farm.database.reads, name);
  await requireOwn(farm, by, job);
  await touchInputs(farm, job);
  await farm.database.write(async (tx) => {
    const row = await farm.database
      .lock(tx.selectFrom('jobs').select(['state', 'ready']).where('job', '=', job), 'wait')
      .executeTakeFirstOrThrow();
    const waits = row.state === 'queued' && row.ready === 0;
    if (!waits && !['failed', 'cancelled'].includes(row.state))
      throw jobState(job, `it is ${row.state}`, 'Only what has failed, was cancelled or waits after a failure can be tried again.');
    await requeue(tx, job, `tried again by ${by.name}`, farm.now());
  });
  tell(farm, job);
  return 'queued';
}

/** Noted as used, so that garbage collection leaves them. @throws LockstepError INPUT_MISSING when it came first */
async function touchInputs(farm: Farm, job: string): Promise<void> {
  const bytes = await farm.objects.get(definitionKey(job), MAX_DEFINITION);
  const decoded = bytes === null ? null : decodeDefinition(parseJson(bytes, definitionKey(job)));
  for (const { sha256 } of decoded?.ok === true ? carriedInputs(decoded.value) : []) {
    const touched = await farm.database.write((tx) =>
      tx.updateTable('inputs').set({ uploaded_at: farm.now() }).where('sha256', '=', sha256).executeTakeFirst(),
    );
    if (Number(touched.numUpdatedRows) === 0)
      throw new LockstepError('INPUT_MISSING', `The input sha256:${sha256} is no longer here`, 'Submit it again: that uploads it.');
  }
}

async function requireOwn(farm: Farm, by: Submitter, job: string): Promise<void> {
  if (by.isOperator) return;
  const others = await farm.database.reads.selectFrom('submissions').select('submitter').distinct().where('job', '=', job).execute();
  if (others.length === 0 || others.some((one) => one.submitter !== by.name))
    throw new LockstepError('FORBIDDEN', `The job ${job.slice(0, 12)} was not submitted by ${by.name} alone`, 'An operator can do it.');
}

function jobState(job: string, why: string, hint: string): LockstepError {
  return new LockstepError('JOB_STATE', `The job ${job.slice(0, 12)} cannot be changed: ${why}`, hint);
}

function tell(farm: Farm, job: string): void {
  farm.database.notify(CHANGED.jobs);
  farm.database.notify(CHANGED.job(job));
}
