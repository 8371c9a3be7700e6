/**
 * One job, one step further, from the facts that there are: the heart of the reconciler. May run at any time, on any
 * replica, again and again: it holds the job's row, and only adds what is missing.
 *
 *   building → (enough have committed: close) → revealing → decide → outcome logged, outputs here → decided
 *            ↘ (nobody left who could: again, after a while, or failed)          ↘ disputed → (arbiters) → decided, failed
 */
import { CLOSING, OUTCOME } from '@lockstep/protocol/commitment/documents';
import { canonicalText } from '@lockstep/protocol/json/canonical';
import type { Json } from '@lockstep/protocol/json/parse';
import type { LoggedEntry, Redecided } from '@lockstep/protocol/quorum/redecide';
import { redecide, roundOf } from '@lockstep/protocol/quorum/redecide';
import type { Decision } from '@lockstep/protocol/quorum/decision';
import type { Failure, JobState } from '@lockstep/api/routes/jobs';
import { resultKey } from '../content/keys.ts';
import type { Writes } from '../database/database.ts';
import { CHANGED, type Farm } from '../farm.ts';
import type { Job } from '../jobs/find-job.ts';
import type { Needs } from '../jobs/needs.ts';
import { errorFields } from '../observe/journal.ts';
import { cancelAttempts } from '../leases/keep.ts';
import { keepDocument, loggedEntries } from '../rounds/documents.ts';
import { noteApproval } from './note-approval.ts';
import { offerRepeats } from '../rounds/repeat.ts';

const MOST_AT_ONCE = 200;
/** Milliseconds. Back-off doubles up to this. */
const LONGEST_BACKOFF = 15 * 60_000;

/**
 * Jobs about which a fact came in, or whose time is up.
 * @param nobodyIsLate after a time in which nobody could reach the farm
 * @returns how many changed
 */
export async function advanceDue(farm: Farm, nobodyIsLate = false): Promise<number> {
  const { reads } = farm.database;
  const due = await reads.selectFrom('jobs').select('job').where('due', '=', 1).limit(MOST_AT_ONCE).execute();
  const late = nobodyIsLate
    ? []
    : await reads
        .selectFrom('jobs')
        .select('job')
        .where('state', 'in', ['building', 'revealing'])
        .where('deadline', '<', farm.now())
        .limit(MOST_AT_ONCE)
        .execute();
  let changed = 0;
  for (const job of new Set([...due, ...late].map((one) => one.job))) if (await advanceSafely(farm, job)) changed++;
  return changed;
}

/** One that cannot be advanced stands in nobody's way. */
async function advanceSafely(farm: Farm, job: string): Promise<boolean> {
  try {
    return await advance(farm, job);
  } catch (error) {
    farm.metrics.stageErrors.inc({ stage: 'advance' });
    farm.journal('error', 'a job could not be advanced', { job, ...errorFields(error) });
    await farm.database.write((tx) => tx.updateTable('jobs').set({ due: 1 }).where('job', '=', job).execute());
    return false;
  }
}

/** @returns whether it went on */
export async function advance(farm: Farm, name: string): Promise<boolean> {
  // Outputs are looked for before the row is held: storage takes its time.
  const complete = await outputsHere(farm, name);
  const went = await farm.database.write(async (tx) => {
    const job = await farm.database.lock(tx.selectFrom('jobs').selectAll().where('job', '=', name), 'skip').executeTakeFirst();
    if (job === undefined) return false;
    await tx.updateTable('jobs').set({ due: 0 }).where('job', '=', name).execute();
    if (job.state === 'building') return advanceBuilding(farm, tx, job);
    if (job.state === 'revealing') return advanceRevealing(farm, tx, job, complete);
    if (job.state === 'disputed') return advanceDisputed(farm, tx, job, complete);
    if (job.state === 'decided') return noteApproval(farm, tx, job);
    return false;
  });
  if (went) {
    farm.database.notify(CHANGED.jobs);
    farm.database.notify(CHANGED.job(name));
  }
  return went;
}

async function advanceBuilding(farm: Farm, tx: Writes, job: Job): Promise<boolean> {
  const tasks = await tx
    .selectFrom('tasks')
    .select(['builder', 'state'])
    .where('job', '=', job.job)
    .where('round', '=', job.round)
    .execute();
  const count = (...states: string[]): number => tasks.filter((one) => states.includes(one.state)).length;
  if (job.commitments === 0) {
    if (count('revealed') >= job.quorum) return toRevealing(farm, tx, job);
  } else {
    const entries = await loggedEntries(farm, tx, job.job);
    const round = roundOf(farm.policy(), entries, job.job);
    if (round?.opening.round === job.round) {
      if (round.phase === 'revealing') return toRevealing(farm, tx, job);
      // As many as are needed have committed, and are in the log: nobody else is waited for.
      const committed = round.participants.filter((one) => one.state === 'committed').length;
      if (committed >= job.quorum) {
        await closeRound(farm, tx, job);
        return false;
      }
    }
  }
  // Whether those who could still bring it to an end are enough, of whom those who were only asked have to be there.
  const away = await awayBuilders(farm, tx);
  const offered = tasks.filter((one) => one.state === 'offered' && !away.has(one.builder)).length;
  const under = count('leased', 'committed', 'revealed');
  if (job.deadline > farm.now()) {
    // Whoever is at it is let end: two that fail alike say more than one.
    if (offered + under >= job.quorum || count('leased') > 0) return false;
    return abandon(farm, tx, job, null);
  }
  // They have other work before it: that is no failure of anybody.
  const failed = await tx
    .selectFrom('attempts')
    .select('attempt')
    .where('job', '=', job.job)
    .where('round', '=', job.round)
    .where('failure', 'is not', null)
    .limit(1)
    .executeTakeFirst();
  if (failed === undefined && count('leased') === 0 && offered > 0 && offered + under >= job.quorum) {
    const { seconds } = JSON.parse(job.needs) as Needs;
    await tx
      .updateTable('jobs')
      .set({ deadline: farm.now() + (seconds + farm.limits.prepareSeconds) * 1000 })
      .where('job', '=', job.job)
      .execute();
    return false;
  }
  return abandon(farm, tx, job, offered + under >= job.quorum ? 'too few builders were done in time' : null);
}

async function awayBuilders(farm: Farm, tx: Writes): Promise<Set<string>> {
  const rows = await tx
    .selectFrom('builders')
    .select('name')
    .where((where) =>
      where.or([
        where('last_seen', 'is', null),
        where('last_seen', '<', farm.now() - farm.limits.aliveSeconds * 1000),
        where('state', '=', 'retired'),
      ]),
    )
    .execute();
  return new Set(rows.map((one) => one.name));
}

async function closeRound(farm: Farm, tx: Writes, job: Job): Promise<void> {
  await keepDocument(
    tx,
    farm,
    job.job,
    farm.sign(CLOSING, { schema: 'lockstep-closing/v1', build_id: job.job, round: job.round, opening: job.opening ?? '' }),
  );
}

async function toRevealing(farm: Farm, tx: Writes, job: Job): Promise<boolean> {
  const now = farm.now();
  // Who has not committed by now is too late, and is told so.
  await tx
    .updateTable('attempts')
    .set({ state: 'superseded', ended_at: now })
    .where('job', '=', job.job)
    .where('round', '=', job.round)
    .where('state', '=', 'leased')
    .execute();
  await tx
    .updateTable('tasks')
    .set({ state: 'closed' })
    .where('job', '=', job.job)
    .where('round', '=', job.round)
    .where('state', 'in', ['offered', 'leased'])
    .execute();
  // Somebody's build failed where another one's did not: told apart from builders that disagree about bytes.
  const failed = await tx
    .selectFrom('attempts')
    .select('attempt')
    .where('job', '=', job.job)
    .where('failure', 'like', '{"who":"build"%')
    .limit(1)
    .executeTakeFirst();
  await tx
    .updateTable('jobs')
    .set({
      flaky: failed === undefined ? job.flaky : 1,
      state: 'revealing',
      due: 1,
      updated_at: now,
      deadline: now + farm.limits.revealSeconds * 1000,
      reason: job.commitments === 1 ? 'all have committed, and reveal' : 'statements are being logged',
    })
    .where('job', '=', job.job)
    .execute();
  return true;
}

async function advanceRevealing(farm: Farm, tx: Writes, job: Job, complete: Complete): Promise<boolean> {
  if (await waitsForLog(tx, job)) return false;
  if (job.decision !== null) return conclude(farm, tx, job, JSON.parse(job.decision) as Decision, complete);
  const waiting = await tx
    .selectFrom('attempts')
    .select('builder')
    .where('job', '=', job.job)
    .where('round', '=', job.round)
    .where('state', '=', 'committed')
    .execute();
  if (waiting.length > 0 && job.deadline > farm.now()) return false;
  const entries = await loggedEntries(farm, tx, job.job);
  const decided = redecide(farm.policy(), entries, job.job);
  if (decided === null || decided.decision.result === 'pending')
    return abandon(farm, tx, job, decided?.decision.reason ?? 'nobody has revealed a statement');
  await decide(farm, tx, job, decided, entries);
  return true;
}

/** What was accepted and is not in the log yet may change what is decided. */
async function waitsForLog(tx: Writes, job: Job): Promise<boolean> {
  const unlogged = await tx
    .selectFrom('documents')
    .select('document')
    .where('job', '=', job.job)
    .where('log_index', 'is', null)
    .limit(1)
    .executeTakeFirst();
  return unlogged !== undefined;
}

async function advanceDisputed(farm: Farm, tx: Writes, job: Job, complete: Complete): Promise<boolean> {
  if (await waitsForLog(tx, job)) return false;
  const entries = await loggedEntries(farm, tx, job.job);
  const decided = redecide(farm.policy(), entries, job.job);
  if (decided === null) return false;
  if (decisionText(decided.decision) !== job.decision) {
    await decide(farm, tx, job, decided, entries);
    return true;
  }
  return conclude(farm, tx, job, decided.decision, complete);
}

/** Kept and signed; the job goes on when it is in the log. */
async function decide(farm: Farm, tx: Writes, job: Job, { decision }: Redecided, entries: readonly LoggedEntry[]): Promise<void> {
  const size = Math.max(...entries.map((one) => one.index)) + 1;
  const text = decisionText(decision);
  await keepDocument(
    tx,
    farm,
    job.job,
    farm.sign(OUTCOME, {
      schema: 'lockstep-outcome/v1',
      build_id: job.job,
      round: decision.round,
      log: { origin: farm.log.origin, size },
      decision: JSON.parse(text) as Json,
    }),
  );
  await tx
    .updateTable('jobs')
    .set({
      decision: text,
      due: 1,
      updated_at: farm.now(),
      deadline: farm.now() + farm.limits.revealSeconds * 1000,
      reason: `${decision.result}: ${decision.reason}`,
      outcome_index: null,
    })
    .where('job', '=', job.job)
    .execute();
}

function decisionText(decision: Decision): string {
  return canonicalText(JSON.parse(JSON.stringify(decision)) as Json);
}

/** What an outcome that is in the log means for the job. */
async function conclude(farm: Farm, tx: Writes, job: Job, decision: Decision, complete: Complete): Promise<boolean> {
  if (job.outcome_index === null) return false;
  const reason = `${decision.result}: ${decision.reason}`;
  if (decision.result === 'agreed' || decision.result === 'resolved') {
    // Looked at again by every sweep until they are: what came in while this looked is not missed.
    if (complete.job === job.job && complete.missing.length === 0) return setState(farm, tx, job, 'decided', reason);
    if (job.deadline > farm.now()) {
      await tx
        .updateTable('jobs')
        .set({ reason: `${decision.result}; waits for the upload of ${complete.missing.length} outputs`, due: 1 })
        .where('job', '=', job.job)
        .execute();
      return false;
    }
    return abandon(farm, tx, { ...job, decision: null }, 'nobody has uploaded what was agreed on');
  }
  if (decision.result === 'disputed') return job.state === 'disputed' ? false : setState(farm, tx, job, 'disputed', reason);
  return setState(farm, tx, job, 'failed', reason);
}

async function setState(farm: Farm, tx: Writes, job: Job, state: JobState, reason: string): Promise<boolean> {
  await tx.updateTable('jobs').set({ state, reason, updated_at: farm.now(), due: 0 }).where('job', '=', job.job).execute();
  if (state === 'disputed') await offerRepeats(tx, job);
  else await cancelAttempts(tx, job.job, farm.now());
  farm.journal('info', 'job', { job: job.job, state, reason });
  return true;
}

/** This round comes to nothing: again after a while, in another round, or never. */
async function abandon(farm: Farm, tx: Writes, job: Job, why: string | null): Promise<boolean> {
  const now = farm.now();
  const failures = await tx
    .selectFrom('attempts')
    .select(['builder', 'failure', 'round'])
    .where('job', '=', job.job)
    .where('round', '>', job.round - farm.limits.rounds)
    .where('failure', 'is not', null)
    .orderBy('attempt')
    .execute();
  const told = failures.map((one) => ({ builder: one.builder, round: one.round, failure: JSON.parse(one.failure ?? '{}') as Failure }));
  const builds = told.filter((one) => one.failure.who === 'build');
  await cancelAttempts(tx, job.job, now);
  // Two builders whose builds failed, none that succeeded: it does not build. One says little about the build, or about the builder.
  const agreed = new Set(builds.filter((one) => one.round === job.round).map((one) => one.builder)).size;
  // Builders that went away say nothing about the job: it waits for others, however often that happens.
  const nobody = why === null && !told.some((one) => one.round === job.round);
  const rounds = job.failures + (nobody ? 0 : 1);
  const reason = why ?? builds.at(-1)?.failure.message ?? told.at(-1)?.failure.message ?? 'no builder was left who could do it';
  const ended =
    agreed >= Math.max(2, job.quorum) ||
    (agreed >= 1 && job.quorum === 1 && agreed >= (await rosterSize(tx, job))) ||
    (!nobody && rounds >= farm.limits.rounds);
  if (ended) {
    const who = builds.length > 0 ? `the build failed: ${reason}` : `the farm failed: ${reason}`;
    await tx
      .updateTable('jobs')
      .set({ state: 'failed', reason: who, failures: rounds, updated_at: now, due: 0, decision: job.decision })
      .where('job', '=', job.job)
      .execute();
    return true;
  }
  const backoff = Math.min(LONGEST_BACKOFF, farm.limits.backoffSeconds * 1000 * 2 ** Math.max(0, rounds - 1));
  await tx
    .updateTable('jobs')
    .set({
      state: 'queued',
      reason: `again at ${new Date(now + backoff).toISOString()}: ${reason}`,
      ready: 0,
      not_before: now + backoff,
      failures: rounds,
      taken: 0,
      updated_at: now,
      due: 0,
      decision: null,
    })
    .where('job', '=', job.job)
    .execute();
  return true;
}

async function rosterSize(tx: Writes, job: Job): Promise<number> {
  const { count } = await tx
    .selectFrom('tasks')
    .select((expression) => expression.fn.countAll<number>().as('count'))
    .where('job', '=', job.job)
    .where('round', '=', job.round)
    .executeTakeFirstOrThrow();
  return Number(count);
}

interface Complete {
  readonly job: string;
  readonly missing: readonly string[];
}

/** Which of the outputs that were agreed on are not in the content store yet. */
async function outputsHere(farm: Farm, name: string): Promise<Complete> {
  const row = await farm.database.reads.selectFrom('jobs').select('decision').where('job', '=', name).executeTakeFirst();
  if (row?.decision == null) return { job: '', missing: [] };
  const digests = acceptedOutputs(JSON.parse(row.decision) as Decision).map((one) => one.sha256);
  const sizes = await Promise.all(digests.map((digest) => farm.objects.size(resultKey(digest))));
  return { job: name, missing: digests.filter((_digest, at) => sizes[at] === null) };
}

/** The outputs that count; none unless agreed or resolved. */
export function acceptedOutputs(decision: Decision): Decision['groups'][number]['outputs'] {
  return decision.groups.find((one) => one.digest === decision.accepted)?.outputs ?? [];
}
