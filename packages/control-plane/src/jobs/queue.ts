/** The order of the queue, and ways back into it. */
import type { Writes } from '../database/database.ts';

/** Positions stay below this for as long as anybody will run a farm. */
const POSITIONS = 2 ** 42;
const HIGHEST_PRIORITY = 100;

/** The smaller the sooner: the more urgent, then the older. */
export function rankOf(priority: number, position: number): number {
  return (HIGHEST_PRIORITY - priority) * POSITIONS + position;
}

/** Forgets how often it failed; its attempts are kept. */
export async function requeue(tx: Writes, job: string, reason: string, now: number): Promise<void> {
  await tx
    .updateTable('jobs')
    .set({
      state: 'queued',
      reason,
      updated_at: now,
      ready: 1,
      not_before: 0,
      failures: 0,
      taken: 0,
      due: 0,
      decision: null,
      outcome_index: null,
      approval: null,
    })
    .where('job', '=', job)
    .execute();
}
