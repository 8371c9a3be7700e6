/** Jobs as the API shows them. */
import type { AttemptView, Failure, JobLine, JobState, JobView } from '@lockstep/api/routes/jobs';
import type { Decision } from '@lockstep/protocol/quorum/decision';
import type { Farm } from '../farm.ts';
import { acceptedOutputs } from '../reconcile/advance.ts';
import type { Job } from './find-job.ts';

/** Attempts that are shown; older ones stay in the database. */
const MOST_ATTEMPTS = 200;

export function jobLine(job: Job): JobLine {
  return {
    job: job.job,
    name: job.name,
    version: job.version,
    source: job.source,
    tier: job.tier,
    state: job.state as JobState,
    submitter: job.submitter,
    priority: job.priority,
    submittedAt: job.submitted_at,
    updatedAt: job.updated_at,
    reason: job.reason,
    quorum: job.quorum,
    round: job.round,
    approval: job.approval,
    flaky: job.flaky === 1,
  };
}

export async function jobView(farm: Farm, job: Job): Promise<JobView> {
  const attempts = await farm.database.reads
    .selectFrom('attempts')
    .selectAll()
    .where('job', '=', job.job)
    .orderBy('attempt', 'desc')
    .limit(MOST_ATTEMPTS)
    .execute();
  const decision = job.decision === null ? null : (JSON.parse(job.decision) as Decision);
  return {
    ...jobLine(job),
    outputs: job.state === 'decided' && decision !== null ? acceptedOutputs(decision).map((one) => ({ ...one })) : [],
    // Not before it is in the log: until then nobody has signed for it.
    decision: job.outcome_index === null ? null : (JSON.parse(job.decision ?? 'null') as JobView['decision']),
    outcomeIndex: job.outcome_index,
    attempts: attempts.reverse().map(
      (one): AttemptView => ({
        attempt: one.attempt,
        builder: one.builder,
        round: one.round,
        state: one.state as AttemptView['state'],
        leasedAt: one.leased_at,
        endedAt: one.ended_at,
        failure: one.failure === null ? null : (JSON.parse(one.failure) as Failure),
        transcriptBytes: Number(one.transcript_bytes),
      }),
    ),
  };
}
