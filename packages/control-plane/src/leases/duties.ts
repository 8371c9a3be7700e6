/** What is wanted of a builder about work that it has done: found anew each time it asks. */
import type { Duty } from '@lockstep/api/routes/builders';
import { CLOSING, COMMITMENT, OPENING } from '@lockstep/protocol/commitment/documents';
import type { Decision } from '@lockstep/protocol/quorum/decision';
import { resultKey } from '../content/keys.ts';
import type { Farm } from '../farm.ts';
import { acceptedOutputs } from '../reconcile/advance.ts';
import type { BuilderIdentity } from './lease.ts';

/** Milliseconds after which another builder that has the same bytes is asked for what somebody has not sent. */
const PATIENCE = 15_000;
const MOST = 64;

/** @param holds attempts that the builder keeps results of */
export async function dutiesOf(farm: Farm, builder: BuilderIdentity, holds: readonly number[]): Promise<Duty[]> {
  if (holds.length === 0) return [];
  const rows = await farm.database.reads
    .selectFrom('attempts')
    .innerJoin('jobs', 'jobs.job', 'attempts.job')
    .select([
      'attempts.attempt',
      'attempts.job',
      'attempts.state',
      'attempts.wanted',
      'attempts.round',
      'jobs.state as job_state',
      'jobs.round as job_round',
      'jobs.opening',
      'jobs.decision',
      'jobs.updated_at',
    ])
    .where('attempts.builder', '=', builder.name)
    .where('attempts.attempt', 'in', holds)
    .limit(4096)
    .execute();
  const duties: Duty[] = [];
  for (const row of rows) {
    if (duties.length >= MOST) break;
    const duty = (wants: Duty['wants'], digests: readonly string[] = [], evidence: readonly number[] = []): void =>
      void duties.push({ attempt: row.attempt, job: row.job, opening: row.opening, wants, digests: [...digests], evidence: [...evidence] });
    if (row.state === 'committed' && row.job_state === 'revealing' && row.round === row.job_round)
      duty('reveal', [], await evidenceOf(farm, row.job));
    else if (row.state === 'revealed') {
      const wanted = JSON.parse(row.wanted ?? '[]') as string[];
      if (wanted.length > 0) duty('upload', wanted);
      else if (!['revealing', 'disputed'].includes(row.job_state)) duty('drop');
      else if (row.decision !== null && farm.now() - Number(row.updated_at) > PATIENCE) {
        const missing = await missingOutputs(farm, row.decision);
        if (missing.length > 0) duty('upload', missing);
      }
    } else if (['decided', 'failed', 'cancelled'].includes(row.job_state) || (row.state === 'committed' && row.round < row.job_round))
      duty('drop');
  }
  const known = new Set(rows.map((row) => row.attempt));
  for (const attempt of holds)
    if (!known.has(attempt) && duties.length < MOST)
      duties.push({ attempt, job: '0'.repeat(64), opening: null, wants: 'drop', digests: [], evidence: [] });
  return duties;
}

/** Where the log has what opened, filled and closed the rounds of a job. */
async function evidenceOf(farm: Farm, job: string): Promise<number[]> {
  const rows = await farm.database.reads
    .selectFrom('documents')
    .select('log_index')
    .where('job', '=', job)
    .where('payload_type', 'in', [OPENING.payloadType, COMMITMENT.payloadType, CLOSING.payloadType])
    .where('log_index', 'is not', null)
    .orderBy('log_index')
    .execute();
  return rows.flatMap((row) => row.log_index ?? []);
}

async function missingOutputs(farm: Farm, decision: string): Promise<string[]> {
  const digests = acceptedOutputs(JSON.parse(decision) as Decision).map((one) => one.sha256);
  const sizes = await Promise.all(digests.map((digest) => farm.objects.size(resultKey(digest))));
  return digests.filter((_digest, at) => sizes[at] === null);
}
