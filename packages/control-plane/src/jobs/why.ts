/** What a job waits for: every job that has not ended can say it. */
import { errorFields } from '../observe/journal.ts';
import type { Farm } from '../farm.ts';
import { liveBuilders } from '../reconcile/live-builders.ts';
import { chooseRoster } from '../reconcile/roster.ts';
import { ruleFor } from '@lockstep/protocol/policy/policy';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Decision } from '@lockstep/protocol/quorum/decision';
import type { Job } from './find-job.ts';
import type { Needs } from './needs.ts';

export async function whyWaits(farm: Farm, job: Job): Promise<string[]> {
  try {
    return await whyOf(farm, job);
  } catch (error) {
    // Without a policy that is in force nothing goes on, and that is what it waits for.
    if (error instanceof LockstepError && error.code === 'POLICY_UNTRUSTED') return [`a policy that is in force: ${error.message}`];
    throw error;
  }
}

async function whyOf(farm: Farm, job: Job): Promise<string[]> {
  if (job.state === 'queued') return whyQueued(farm, job);
  if (job.state === 'building' || job.state === 'revealing') return whyInRound(farm, job);
  if (job.state === 'disputed') {
    const decision = job.decision === null ? null : (JSON.parse(job.decision) as Decision);
    if (decision?.result === 'resolved') return ['the upload of what the arbiters have accepted'];
    const { arbiters } = farm.policy();
    return [
      arbiters === null
        ? 'arbiters, of whom the policy names none: nobody can resolve it'
        : `${arbiters.threshold} of the arbiters ${arbiters.members.map((one) => one.name).join(', ')}: lockstep farm resolve`,
    ];
  }
  if (job.state === 'decided' && job.approval === null) {
    const { release } = farm.policy();
    return [
      release === null
        ? 'a release key, of which the policy names none: UNSIGNED until then'
        : `the approval of ${release.threshold} of the release keys ${release.keys.map((one) => one.name).join(', ')}: UNSIGNED until then (lockstep release approve)`,
    ];
  }
  return [];
}

async function whyQueued(farm: Farm, job: Job): Promise<string[]> {
  const now = farm.now();
  const policy = farm.policy();
  const reasons: string[] = job.failures > 0 ? [`${job.failures} rounds came to nothing: ${job.reason}`] : [];
  if (job.ready === 0 && job.not_before > now) reasons.push(`not before ${new Date(job.not_before).toISOString()}`);
  const rule = ruleFor(policy, job.name, job.tier)?.rule;
  if (rule === undefined) return [...reasons, 'a rule of the policy that is about it'];
  const live = await liveBuilders(farm, farm.database.reads, policy);
  const roster = chooseRoster(job.job, job.round + 1, JSON.parse(job.needs) as Needs, rule, live, 0);
  if (roster.lacking !== null) return [...reasons, roster.lacking];
  const { ahead } = await farm.database.reads
    .selectFrom('jobs')
    .select((expression) => expression.fn.countAll<number>().as('ahead'))
    .where('state', '=', 'queued')
    .where('rank', '<', job.rank)
    .executeTakeFirstOrThrow();
  reasons.push(
    Number(ahead) === 0
      ? 'builders with a free slot: it is the next in the queue'
      : `${Number(ahead)} jobs that are more urgent or older; shares between submitters may bring it forward`,
  );
  return reasons;
}

async function whyInRound(farm: Farm, job: Job): Promise<string[]> {
  const { reads } = farm.database;
  const tasks = await reads
    .selectFrom('tasks')
    .select(['builder', 'state', 'attempt', 'not_before'])
    .where('job', '=', job.job)
    .where('round', '=', job.round)
    .orderBy('builder')
    .execute();
  const reasons = tasks.flatMap((task) => {
    if (task.state === 'offered')
      return job.taken >= job.quorum
        ? []
        : [`${task.builder} to lease it${task.not_before > farm.now() ? `, not before ${new Date(task.not_before).toISOString()}` : ''}`];
    if (task.state === 'leased') return [`${task.builder}, which builds it (attempt ${task.attempt})`];
    if (task.state === 'committed')
      return [
        job.state === 'revealing' ? `${task.builder} to reveal what it has committed to` : `the others: ${task.builder} has committed`,
      ];
    return [];
  });
  const unlogged = await reads
    .selectFrom('documents')
    .select((expression) => expression.fn.countAll<number>().as('count'))
    .where('job', '=', job.job)
    .where('log_index', 'is', null)
    .executeTakeFirstOrThrow();
  if (Number(unlogged.count) > 0) reasons.push(`the log: ${Number(unlogged.count)} documents are accepted and not in it yet`);
  const sends = await reads
    .selectFrom('attempts')
    .select(['builder', 'wanted'])
    .where('job', '=', job.job)
    .where('round', '=', job.round)
    .where('state', '=', 'revealed')
    .execute();
  for (const one of sends) {
    const wanted = JSON.parse(one.wanted ?? '[]') as string[];
    if (wanted.length > 0) reasons.push(`${one.builder} to upload ${wanted.length} files`);
  }
  return [...reasons, `at most ${new Date(job.deadline).toISOString()}, when another round is tried`];
}

/** What is wrong with the farm itself, for its status. */
export async function farmProblems(farm: Farm): Promise<string[]> {
  const problems: string[] = [];
  const now = farm.now();
  try {
    const policy = farm.policy();
    const days = (Date.parse(policy.expires) - now) / 86_400_000;
    if (days < 30) problems.push(`the policy expires in ${Math.floor(days)} days: sign it again`);
    const listed = new Set<string>(policy.builders.map((one) => one.key.id));
    const builders = await farm.database.reads
      .selectFrom('builders')
      .select(['name', 'attestation_key', 'last_seen', 'state'])
      .where('state', '!=', 'retired')
      .execute();
    for (const one of builders) {
      if (!listed.has(one.attestation_key))
        problems.push(`${one.name} has joined and the policy does not list its attestation key: it gets no work`);
      else if ((one.last_seen ?? 0) < now - farm.limits.aliveSeconds * 1000)
        problems.push(`${one.name} was not heard of since ${one.last_seen === null ? 'it joined' : new Date(one.last_seen).toISOString()}`);
    }
  } catch (error) {
    problems.push(String(errorFields(error)['error']));
  }
  for (const { of, code, message } of farm.troubles.list()) problems.push(`${of}: ${message} [${code}]`);
  const stuck = await farm.database.reads
    .selectFrom('documents')
    .select('accepted_at')
    .where('log_index', 'is', null)
    .orderBy('document')
    .limit(1)
    .executeTakeFirst();
  if (stuck !== undefined && now - stuck.accepted_at > 30_000)
    problems.push(`nothing was logged for ${Math.round((now - stuck.accepted_at) / 1000)} s: are the witnesses there?`);
  return problems;
}
