/** What a farm forgets by itself, and the figures that it shows. */
import { JOB_STATES } from '@lockstep/api/routes/jobs';
import type { Farm } from '../farm.ts';
import { errorFields } from '../observe/journal.ts';
import { keepTranscripts } from '../transcripts/read.ts';
import { lead } from './leader.ts';

const HOUR = 3_600_000;
/** Chunks of an attempt that has ended stay in the database for so long. */
const KEEP_CHUNKS = 60_000;
/** Statements of decided jobs stay in the database for so long; after it the log has them. */
const KEEP_PAYLOADS = 24 * HOUR;
const MOST_AT_ONCE = 500;

export async function tidy(farm: Farm): Promise<number> {
  // Figures that cannot be had now are shown later; what has to be moved is moved.
  await showFigures(farm).catch((error: unknown) => farm.journal('warn', 'figures could not be counted', errorFields(error)));
  if (!(await lead(farm, 'tidy'))) return 0;
  const now = farm.now();
  await keepTranscripts(farm, now - KEEP_CHUNKS);
  await farm.database.write(async (tx) => {
    await tx
      .deleteFrom('join_tokens')
      .where('expires_at', '<', now - HOUR)
      .execute();
    const old = await tx
      .selectFrom('documents')
      .innerJoin('jobs', 'jobs.job', 'documents.job')
      .select('documents.document')
      .where('jobs.state', '=', 'decided')
      .where('jobs.updated_at', '<', now - KEEP_PAYLOADS)
      .where('documents.log_index', 'is not', null)
      .where('documents.payload', 'is not', null)
      .limit(MOST_AT_ONCE)
      .execute();
    if (old.length > 0)
      await tx
        .updateTable('documents')
        .set({ payload: null })
        .where(
          'document',
          'in',
          old.map((one) => one.document),
        )
        .execute();
  });
  return 0;
}

async function showFigures(farm: Farm): Promise<void> {
  const { reads } = farm.database;
  const counts = await countJobs(farm);
  for (const state of JOB_STATES) farm.metrics.jobs.set({ state }, counts.get(state) ?? 0);
  const alive = await reads
    .selectFrom('builders')
    .select((expression) => expression.fn.countAll<number>().as('count'))
    .where('last_seen', '>=', farm.now() - farm.limits.aliveSeconds * 1000)
    .executeTakeFirstOrThrow();
  farm.metrics.buildersAlive.set(Number(alive.count));
  const oldest = await reads
    .selectFrom('jobs')
    .select((expression) => expression.fn.min('submitted_at').as('at'))
    .where('state', '=', 'queued')
    .executeTakeFirst();
  farm.metrics.oldestQueued.set(oldest?.at == null ? 0 : (farm.now() - Number(oldest.at)) / 1000);
  farm.metrics.logSize.set(await farm.log.size());
  farm.metrics.policyExpires.set(Date.parse(farm.policy().expires) / 1000);
}

export async function countJobs(farm: Farm): Promise<Map<string, number>> {
  const rows = await farm.database.reads
    .selectFrom('jobs')
    .select((expression) => ['state', expression.fn.countAll<number>().as('count')])
    .groupBy('state')
    .execute();
  return new Map(rows.map((one) => [one.state, Number(one.count)]));
}
