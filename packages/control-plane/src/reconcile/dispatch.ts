/**
 * From the queue to builders: so many jobs as they can soon begin, in a fair order. Opens a round for each where the
 * policy asks for commitments. The queue itself stays as long as it is.
 */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { OPENING } from '@lockstep/protocol/commitment/documents';
import type { Policy } from '@lockstep/protocol/policy/policy';
import { ruleFor } from '@lockstep/protocol/policy/policy';
import type { Writes } from '../database/database.ts';
import { CHANGED, type Farm } from '../farm.ts';
import type { Job } from '../jobs/find-job.ts';
import type { Needs } from '../jobs/needs.ts';
import { documentDigest, keepDocument } from '../rounds/documents.ts';
import { openQueue } from './fair-share.ts';
import { type KnownCapabilities, liveBuilders } from './live-builders.ts';
import { chooseRoster, type LiveBuilder, type Roster } from './roster.ts';

/** In one transaction, so that it stays short. */
const MOST_AT_ONCE = 200;
/** Jobs that are looked at in vain in one transaction. */
const MOST_PUT_OFF = 200;
/** Milliseconds until somebody looks again whether builders have come for a job that had none: longer for what has waited longer. */
const LOOK_AGAIN = 5000;
const LOOK_AGAIN_AT_MOST = 120_000;

/** @returns how many jobs were looked at */
export async function dispatch(farm: Farm, known: KnownCapabilities = new Map()): Promise<number> {
  const { reads } = farm.database;
  const waiting = await reads.selectFrom('jobs').select('job').where('state', '=', 'queued').limit(1).executeTakeFirst();
  if (waiting === undefined) return 0;
  await wakeWaiting(farm);
  const policy = farm.policy();
  // Rounds of a coordinator that nobody knows would never end.
  if (!policy.coordinators.some((one) => one.key.id === farm.coordinatorKey))
    throw new LockstepError(
      'POLICY_UNTRUSTED',
      `The policy does not list this farm’s coordinator key ${farm.coordinatorKey.slice(0, 12)}`,
      'Have the policy signed with it, or give the farm the key that it lists.',
    );
  const live = await liveBuilders(farm, reads, policy, known);
  const slots = live.reduce((sum, one) => sum + one.can.slots, 0);
  const { open } = await reads
    .selectFrom('jobs')
    .select((expression) => expression.fn.countAll<number>().as('open'))
    .where('state', '=', 'building')
    .whereRef('taken', '<', 'quorum')
    .executeTakeFirstOrThrow();
  // Twice what can run: nobody waits for the next round to open, and a new urgent job waits for few.
  const free = Math.max(4, slots * 2) - Number(open);
  if (free <= 0) return 0;
  const wanted = Math.min(free, MOST_AT_ONCE);
  const { given, seen } = await farm.database.write(async (tx) => {
    // Deep enough that what nobody can build now does not stand before what somebody can.
    const queue = await openQueue(farm, tx, wanted + MOST_PUT_OFF);
    let given = 0;
    let seen = 0;
    for (let job = queue.next(); job !== null; job = given < wanted && seen < wanted + MOST_PUT_OFF ? queue.next() : null) {
      seen++;
      if (!(await dispatchOne(farm, tx, policy, live, job))) continue;
      queue.charge(job);
      given++;
    }
    await queue.keep();
    return { given, seen };
  });
  if (given > 0) farm.database.notify(CHANGED.jobs);
  return seen;
}

/** Back-off is over, or builders may have come. */
async function wakeWaiting(farm: Farm): Promise<void> {
  const { reads } = farm.database;
  const due = await reads
    .selectFrom('jobs')
    .select('job')
    .where('state', '=', 'queued')
    .where('ready', '=', 0)
    .where('not_before', '<=', farm.now())
    .limit(MOST_AT_ONCE)
    .execute();
  if (due.length === 0) return;
  await farm.database.write((tx) =>
    tx
      .updateTable('jobs')
      .set({ ready: 1 })
      .where(
        'job',
        'in',
        due.map((one) => one.job),
      )
      .where('state', '=', 'queued')
      .execute(),
  );
}

async function dispatchOne(farm: Farm, tx: Writes, policy: Policy, live: readonly LiveBuilder[], job: Job): Promise<boolean> {
  const now = farm.now();
  const found = ruleFor(policy, job.name, job.tier);
  if (found === null) {
    await putOff(tx, job, now, 'the policy has no rule for it any more');
    return false;
  }
  const { rule } = found;
  const round = job.round + 1;
  const needs = JSON.parse(job.needs) as Needs;
  const roster = chooseRoster(job.job, round, needs, rule, live, farm.limits.spares);
  if (roster.lacking !== null) {
    await putOff(tx, job, now, `waits for ${roster.lacking}`);
    return false;
  }
  const deadline = now + (needs.seconds + farm.limits.prepareSeconds) * 1000;
  const opening = rule.commitments === 'required' ? await openRound(farm, tx, policy, job, round, roster, deadline) : null;
  for (const { builder, ambient } of roster.members) {
    builder.backlog++;
    await tx
      .insertInto('tasks')
      .values({
        job: job.job,
        round,
        builder: builder.name,
        state: 'offered',
        ambient: JSON.stringify(ambient),
        rank: job.rank,
        not_before: 0,
        attempt: null,
      })
      .execute();
  }
  await tx
    .updateTable('jobs')
    .set({
      state: 'building',
      reason: `offered to ${roster.members.map((one) => one.builder.name).join(', ')}`,
      updated_at: now,
      quorum: rule.quorum,
      commitments: opening === null ? 0 : 1,
      round,
      opening,
      deadline,
      taken: 0,
    })
    .where('job', '=', job.job)
    .execute();
  return true;
}

/** @returns its digest */
async function openRound(
  farm: Farm,
  tx: Writes,
  policy: Policy,
  job: Job,
  round: number,
  roster: Roster,
  deadline: number,
): Promise<string> {
  const document = farm.sign(OPENING, {
    schema: 'lockstep-opening/v1',
    build_id: job.job,
    round,
    policy: { version: policy.version, sha256: policy.sha256 },
    log: farm.log.origin,
    commit_by: new Date(deadline).toISOString().replace(/\.\d+Z$/, 'Z'),
    roster: roster.members.map(({ builder, ambient }) => ({
      builder: builder.listed.name,
      key: builder.listed.key.id,
      ambient: { ...ambient },
    })),
  });
  await keepDocument(tx, farm, job.job, document);
  return documentDigest(document);
}

async function putOff(tx: Writes, job: Job, now: number, reason: string): Promise<void> {
  await tx
    .updateTable('jobs')
    .set({
      ready: 0,
      not_before: Math.round(now + Math.min(LOOK_AGAIN_AT_MOST, Math.max(LOOK_AGAIN, (now - job.submitted_at) / 4))),
      reason,
    })
    .where('job', '=', job.job)
    .execute();
}
