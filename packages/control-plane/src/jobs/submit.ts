/** Takes a definition in: checked against its own lock and the policy, kept as a fact, then queued. */
import { randomBytes } from 'node:crypto';
import { carriedInputs } from '@lockstep/protocol/definition/carried';
import { buildId, decodeDefinition, type Definition, definitionToJson } from '@lockstep/protocol/definition/definition';
import { formatIssue } from '@lockstep/protocol/decode/issue-error';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { canonicalBytes } from '@lockstep/protocol/json/canonical';
import type { Json } from '@lockstep/protocol/json/parse';
import { lockProblem } from '@lockstep/protocol/lock/consistency';
import { isTrustedSource, type PolicyRule, ruleFor } from '@lockstep/protocol/policy/policy';
import type { JobState } from '@lockstep/api/routes/jobs';
import { definitionKey, submissionKey } from '../content/keys.ts';
import type { Writes } from '../database/database.ts';
import { CHANGED, type Farm } from '../farm.ts';
import { needsOf } from './needs.ts';
import { rankOf, requeue } from './queue.ts';

export interface Submitter {
  readonly name: string;
  /** Operators may have built what the policy does not mark as trusted. */
  readonly isOperator: boolean;
}

export interface Submitted {
  readonly submission: string;
  readonly job: string;
  readonly state: JobState;
  /** The quorum decided about it before. */
  readonly cached: boolean;
}

/** The fact that is kept in the content store (spec/api.md). */
export interface SubmissionFact {
  readonly schema: 'lockstep-submission/v1';
  readonly submission: string;
  readonly build_id: string;
  readonly submitter: string;
  readonly priority: number;
  /** Milliseconds since 1970. */
  readonly submitted_at: number;
}

/** @throws LockstepError REQUEST_INVALID, SUBMISSION_REFUSED, INPUT_MISSING, QUEUE_FULL */
export async function submit(farm: Farm, by: Submitter, json: Json, priority: number): Promise<Submitted> {
  const definition = readDefinition(json);
  if (!by.isOperator && priority > 0)
    throw new LockstepError(
      'SUBMISSION_REFUSED',
      'Only operators put something before what others wait for',
      'Submit it with priority 0 or less, or ask an operator.',
    );
  const rule = admit(farm, by, definition);
  const job = buildId(definition);
  const { reads } = farm.database;
  const known = await reads.selectFrom('jobs').select(['state']).where('job', '=', job).executeTakeFirst();
  if (known === undefined) await requireRoom(farm);
  await requireInputs(farm, by, definition);
  const fact: SubmissionFact = {
    schema: 'lockstep-submission/v1',
    submission: `${farm.now().toString(36).padStart(9, '0')}-${randomBytes(8).toString('hex')}`,
    build_id: job,
    submitter: by.name,
    priority,
    submitted_at: farm.now(),
  };
  // The facts first: what the database is told can always be told again from them.
  if ((await farm.objects.size(definitionKey(job))) === null)
    await farm.objects.put(definitionKey(job), canonicalBytes(definitionToJson(definition)));
  await farm.objects.put(submissionKey(fact.submission), canonicalBytes({ ...fact }));
  const state = await farm.database.write((tx) => recordSubmission(tx, fact, definition, rule));
  farm.database.notify(CHANGED.jobs);
  return { submission: fact.submission, job, state, cached: state === 'decided' };
}

/** Used by a reindex too. @returns the state of the job */
export async function recordSubmission(tx: Writes, fact: SubmissionFact, definition: Definition, rule: PolicyRule): Promise<JobState> {
  const needs = needsOf(definition);
  const { name, version, tier } = definition.manifest;
  const at = fact.submitted_at;
  const { numInsertedOrUpdatedRows: added } = await tx
    .insertInto('submissions')
    .values({ submission: fact.submission, job: fact.build_id, submitter: fact.submitter, priority: fact.priority, submitted_at: at })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  await tx
    .insertInto('shares')
    .values({ submitter: fact.submitter, share: 1, used: 0 })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  await tx
    .insertInto('jobs')
    .values({
      job: fact.build_id,
      name,
      version,
      source: definition.lock.source.ref,
      tier,
      architecture: needs.architecture,
      needs: JSON.stringify(needs),
      state: 'queued',
      reason: 'waits for builders',
      submitter: fact.submitter,
      priority: fact.priority,
      rank: 0,
      submitted_at: at,
      updated_at: at,
      ready: 1,
      not_before: 0,
      quorum: rule.quorum,
      commitments: rule.commitments === 'required' ? 1 : 0,
      round: 0,
      opening: null,
      deadline: 0,
      taken: 0,
      failures: 0,
      flaky: 0,
      decision: null,
      outcome_index: null,
      approval: null,
      due: 0,
    })
    .onConflict((conflict) => conflict.column('job').doNothing())
    .execute();
  const job = await tx
    .selectFrom('jobs')
    .select(['state', 'priority', 'position', 'rank'])
    .where('job', '=', fact.build_id)
    .executeTakeFirstOrThrow();
  // Whoever asks again for what was cancelled wants it after all; and the most urgent of those who ask decides.
  const priority = Math.max(job.priority, fact.priority);
  const rank = rankOf(priority, job.position);
  if (rank !== job.rank) {
    await tx.updateTable('jobs').set({ priority, rank }).where('job', '=', fact.build_id).execute();
    await tx.updateTable('tasks').set({ rank }).where('job', '=', fact.build_id).execute();
  }
  // A submission that was known before asks for nothing new (reindex).
  if (job.state !== 'cancelled' || Number(added) === 0) return job.state as JobState;
  await requeue(tx, fact.build_id, 'submitted again', at);
  return 'queued';
}

function readDefinition(json: Json): Definition {
  const decoded = decodeDefinition(json);
  const refuse = (why: string): LockstepError =>
    new LockstepError(
      'REQUEST_INVALID',
      `Not a build definition: ${why}`,
      'Send manifest and lock as "lockstep submit" does (spec/definition.md).',
    );
  if (!decoded.ok) throw refuse(decoded.issues.slice(0, 3).map(formatIssue).join('; '));
  const problem = lockProblem(decoded.value.manifest, decoded.value.lock);
  if (problem !== null) throw refuse(`the lock does not fit the manifest: ${problem}`);
  return decoded.value;
}

function admit(farm: Farm, by: Submitter, { manifest, lock }: Definition): PolicyRule {
  const policy = farm.policy();
  const refuse = (why: string, hint: string): LockstepError =>
    new LockstepError('SUBMISSION_REFUSED', `The farm does not take ${manifest.name} ${manifest.version}: ${why}`, hint);
  if (manifest.tier !== 'container')
    throw refuse(`no builder has the tier ${manifest.tier}`, 'Use tier = "container", for source that the policy trusts.');
  const found = ruleFor(policy, manifest.name, manifest.tier);
  if (found === null)
    throw refuse(
      'no rule of the policy is about it',
      'Whoever signs the policy adds a rule: lockstep policy explain shows those that there are.',
    );
  if (!isTrustedSource(found.rule, lock.source.ref) && !by.isOperator)
    throw refuse(
      `the policy does not trust its source ${lock.source.ref}`,
      'Source that is not trusted needs a virtual machine, which no builder has. Whoever signs the policy may name the source. What an operator has built nevertheless counts for nobody.',
    );
  if (lock.environment.kind === 'host')
    throw refuse(
      'its environment is whatever a builder’s machine has, which nobody can repeat',
      'Pin an environment: environment.kind = "debian" or "rootfs".',
    );
  return found.rule;
}

async function requireRoom(farm: Farm): Promise<void> {
  const { count } = await farm.database.reads
    .selectFrom((from) => from.selectFrom('jobs').select('position').where('state', '=', 'queued').limit(farm.limits.queue).as('waiting'))
    .select((expression) => expression.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow();
  if (Number(count) >= farm.limits.queue)
    throw new LockstepError('QUEUE_FULL', `${farm.limits.queue} jobs wait already`, 'Try again later; Retry-After says when.');
}

/** Naming a digest gives nobody its bytes: whoever submits has uploaded them. */
async function requireInputs(farm: Farm, by: Submitter, definition: Definition): Promise<void> {
  const carried = carriedInputs(definition).map((one) => one.sha256);
  if (carried.length === 0) return;
  const have = new Set<string>();
  // A statement takes so many values at once.
  for (let at = 0; at < carried.length; at += 500) {
    const some = carried.slice(at, at + 500);
    // Noted as used, so that garbage collection, which removes what was not used for long, is either before this or after.
    const found = await farm.database.write((tx) =>
      tx
        .updateTable('inputs')
        .set({ uploaded_at: farm.now() })
        .where('submitter', '=', by.name)
        .where('sha256', 'in', some)
        .returning('sha256')
        .execute(),
    );
    for (const { sha256 } of found) have.add(sha256);
  }
  const missing = carried.filter((one) => !have.has(one));
  if (missing.length > 0)
    throw new LockstepError(
      'INPUT_MISSING',
      `${missing.length} inputs that only the submitter has were not uploaded: ${missing.slice(0, 5).join(', ')}${missing.length > 5 ? ', …' : ''}`,
      'Upload them first; "lockstep submit" does.',
    );
}
