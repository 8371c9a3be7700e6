/** A job by its build id, or by the beginning of it. */
import type { Selectable } from 'kysely';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Reads, Writes } from '../database/database.ts';
import type { Jobs } from '../database/schema.ts';

export type Job = Selectable<Jobs>;

/** @throws LockstepError NOT_FOUND */
export async function findJob(db: Reads | Writes, name: string): Promise<Job> {
  // From `name` up to the first text that no longer begins with it: uses the index.
  const found = await db.selectFrom('jobs').selectAll().where('job', '>=', name).where('job', '<', `${name}g`).limit(2).execute();
  const [only] = found;
  if (only === undefined)
    throw new LockstepError('NOT_FOUND', `There is no job ${name}`, 'See "lockstep farm jobs"; a job is named by its build id.');
  if (found.length > 1) throw new LockstepError('NOT_FOUND', `${name} is the beginning of several build ids`, 'Give more digits.');
  return only;
}
