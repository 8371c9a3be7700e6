/** Whether what was agreed on has been approved as a release: for whoever looks at the farm. Verifiers find it in the log. */
import type { Decision } from '@lockstep/protocol/quorum/decision';
import { approvalOf } from '@lockstep/protocol/verdict/approval';
import type { Writes } from '../database/database.ts';
import type { Farm } from '../farm.ts';
import type { Job } from '../jobs/find-job.ts';
import { loggedEntries } from '../rounds/documents.ts';

/** @returns whether it is news */
export async function noteApproval(farm: Farm, tx: Writes, job: Job): Promise<boolean> {
  if (job.decision === null) return false;
  const entries = await loggedEntries(farm, tx, job.job);
  // Without the root and the documents about keys, which are of no job: a key that was rotated is not seen here.
  const { approved } = approvalOf(farm.policy(), entries, null, JSON.parse(job.decision) as Decision);
  const approval = approved === null ? null : approved.approvals.map((one) => one.seat).join(', ');
  if (approval === null || approval === job.approval) return false;
  await tx.updateTable('jobs').set({ approval, updated_at: farm.now() }).where('job', '=', job.job).execute();
  return true;
}
