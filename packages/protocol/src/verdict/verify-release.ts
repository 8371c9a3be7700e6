/**
 * The verdict on a file by a policy: who is trusted, that all of it is in a witnessed log, that this file is one of the
 * outputs that enough independent builders agree on, and how fresh that is. Decides the quorum again by itself.
 */
import { isoTime } from '../time/iso-time.ts';
import type { LoggedDocument } from '../bundle/open-bundle.ts';
import { IN_TOTO_PAYLOAD } from '../dsse/envelope.ts';
import type { Policy } from '../policy/policy.ts';
import { readClaim } from '../quorum/claim.ts';
import type { Decision } from '../quorum/decision.ts';
import { type LoggedEntry, type Redecided, redecide } from '../quorum/redecide.ts';
import { sourceOf } from '../quorum/source-of.ts';
import type { RootMetadata } from '../tuf/metadata.ts';
import type { ApprovedRecord } from '../release/approvals.ts';
import { missingChecks } from '../release/check-result.ts';
import { approvalOf } from './approval.ts';
import { type NamedBundle, openEvidence } from './evidence.ts';
import type { Artifact } from './verify.ts';
import { type Verdict, VerdictBuilder } from './verdict.ts';

export const RELEASE_STEPS = [
  'policy',
  'log-inclusion',
  'witnesses',
  'subject',
  'source',
  'builders',
  'failure-domains',
  'threshold',
  'checks',
  'approval',
  'freshness',
] as const;

export interface TrustedPolicy {
  readonly policy: Policy;
  /** Seconds since 1970 until which the metadata that says what is current is valid. */
  readonly currentUntil: number;
  /** Its threshold speaks for release keys that are lost or stolen; null: nobody does. */
  readonly root: RootMetadata | null;
}

/** Why nothing can be taken from a log, and at which step that is seen. */
export interface LogProblem {
  readonly step: 'log-inclusion' | 'witnesses' | 'subject';
  readonly problem: string;
}

export interface ReleaseInput {
  readonly artifact: Artifact;
  /** The policy, or why it cannot be trusted. */
  readonly trust: TrustedPolicy | string;
  /** Sigstore bundles: statements, and what their round consists of. */
  readonly bundles: readonly NamedBundle[] | LogProblem;
  /** Whether these are all that the log has about the build: only then is it known that nobody disagrees. */
  readonly complete: boolean;
  /** Go on without the release keys’ approval; the verdict says that it is unsigned. */
  readonly unsigned?: boolean;
  readonly expect: { readonly source?: string; readonly buildId?: string; readonly package?: string };
  /** Seconds since 1970. */
  readonly now: number;
}

export interface ReleaseVerdict extends Verdict {
  /** What was decided on the way; null when it was not reached. */
  readonly decision: Decision | null;
  /** Who approved the release, and what; null when nobody has, or it was not reached. */
  readonly approved: ApprovedRecord | null;
  /** Seconds since 1970: authentic as of then. null when nobody has witnessed it. */
  readonly witnessedAt: number | null;
}

/** Order is shown by what stands between: what is left out can hide a disagreement, and a reveal before a commitment. */
export const INCOMPLETE_NOTE =
  'Decided from the bundles that were given. A disagreement, or a reveal before a commitment, that is not among them shows only in the log (--log).';

const DAY = 86_400;

export function verifyRelease(input: ReleaseInput): ReleaseVerdict {
  const verdict = new VerdictBuilder(RELEASE_STEPS);
  let decision: Decision | null = null;
  let witnessedAt: number | null = null;
  let approved: ApprovedRecord | null = null;
  const end = (done: Verdict): ReleaseVerdict => ({ ...done, decision, witnessedAt, approved });
  if (typeof input.trust === 'string') return end(verdict.fail('policy', input.trust));
  const { policy, currentUntil } = input.trust;
  verdict.pass('policy', `${policy.name}, version ${policy.version}, until ${policy.expires}`);

  if (!Array.isArray(input.bundles)) {
    const { step, problem } = input.bundles as LogProblem;
    if (step !== 'log-inclusion') verdict.pass('log-inclusion', 'a checkpoint of a log of the policy');
    if (step === 'subject') verdict.pass('witnesses', 'as many as the policy asks for');
    return end(verdict.fail(step, problem));
  }
  const opened = openEvidence(input.bundles as readonly NamedBundle[], policy);
  if (typeof opened === 'string') return end(verdict.fail('log-inclusion', opened));
  const { log, documents, witnessed: seen } = opened;
  verdict.pass(
    'log-inclusion',
    `${documents.length} entries of ${log.key.name}, up to index ${Math.max(...documents.map((one) => one.index))}`,
  );

  const unwitnessed = seen.find((one) => !one.met);
  if (unwitnessed !== undefined)
    return end(
      verdict.fail('witnesses', `the checkpoint has the cosignatures of ${unwitnessed.names.join(', ') || 'no witness that counts'}`),
    );
  const times = seen.map((one) => one.time).filter((time) => time !== null);
  witnessedAt = times.length === 0 ? null : Math.min(...times);
  verdict.pass(
    'witnesses',
    witnessedAt === null ? 'the policy asks for none' : `${seen[0]?.names.join(', ') ?? ''}, at ${isoTime(witnessedAt)}`,
  );
  if (policy.witnessQuorum === 'none') verdict.note('No witness has seen the log: it could show others something else.');

  const decided = decideAbout(documents, policy, input);
  if (decided === null)
    return end(
      verdict.fail(
        'subject',
        `no statement of a builder in the policy has the SHA-256 of ${input.artifact.name} (${input.artifact.sha256})`,
      ),
    );
  ({ decision } = decided);
  const id = decision.build_id;
  const having = decision.groups.filter((one) => one.outputs.some((output) => output.sha256 === input.artifact.sha256));
  // Builders can disagree about another output and agree about this one: then the accepted result counts.
  const { accepted } = decision;
  const group = having.find((one) => one.digest === accepted) ?? having[0];
  const output = group?.outputs.find((one) => one.sha256 === input.artifact.sha256);
  if (group === undefined || output === undefined)
    return end(verdict.fail('subject', `no builder that counts has made this file: ${decision.reason}`));
  if (input.expect.buildId !== undefined && input.expect.buildId !== id)
    return end(verdict.fail('subject', `the build id is ${id}, expected ${input.expect.buildId}`));
  if (input.expect.package !== undefined && input.expect.package !== decision.package.name)
    return end(verdict.fail('subject', `it is of the package ${decision.package.name}, expected ${input.expect.package}`));
  verdict.pass('subject', `${output.name} of ${decision.package.name} ${decision.package.version}, build id ${id}`);

  const source = sourceOf(documents.map(toEntry), id);
  if (input.expect.source !== undefined && input.expect.source !== source)
    return end(verdict.fail('source', `source_ref is ${source}, expected ${input.expect.source}`));
  if (decision.result === 'refused') return end(verdict.fail('source', decision.reason));
  verdict.pass('source', source);

  const counted = decision.builders.filter((one) => one.state === 'counted' && one.outputs === group.digest);
  if (counted.length === 0) return end(verdict.fail('builders', `nobody that counts has made this file: ${decision.reason}`));
  verdict.pass('builders', `${counted.map((one) => one.name).join(', ')} (of ${decision.of} in the policy)`);

  const where = counted.map((one) => `${one.operator}/${one.site}`).join(', ');
  if (group.independent < decision.threshold)
    return end(verdict.fail('failure-domains', `${group.independent} independent of ${decision.threshold} needed: ${where}`));
  verdict.pass('failure-domains', `${group.independent} independent${decision.simulated ? ', SIMULATED on one machine' : ''}: ${where}`);

  if ((decision.result !== 'agreed' && decision.result !== 'resolved') || decision.accepted !== group.digest)
    return end(verdict.fail('threshold', `${decision.result}: ${decision.reason}`));
  verdict.pass('threshold', `${decision.result}: ${decision.threshold} of ${decision.of}`);

  const entries = documents.map(toEntry);
  const missing = missingChecks(policy, decision.checks, entries, {
    buildId: id,
    outputs: group.digest,
    threshold: decision.threshold,
  });
  if (missing.length > 0) return end(verdict.fail('checks', missing.join('; ')));
  verdict.pass('checks', decision.checks.join(', ') || 'the policy asks for none');

  const approval = approvalOf(policy, entries, input.trust.root, decision);
  approved = approval.approved;
  if (approval.unsigned !== null) {
    if (policy.release !== null && input.unsigned !== true) return end(verdict.fail('approval', approval.unsigned));
    verdict.pass('approval', approval.unsigned);
    verdict.note('UNSIGNED: builders agree on it, and nobody has approved it as a release.');
  } else verdict.pass('approval', approval.detail);

  const stale = staleness(policy, currentUntil, witnessedAt, input.now);
  if (stale !== null) return end(verdict.fail('freshness', stale));
  verdict.pass('freshness', `current until ${isoTime(currentUntil)}`);
  if (!input.complete) verdict.note(INCOMPLETE_NOTE);
  if (log.simulated || policy.witnesses.some((one) => one.simulated && seen.some(({ names }) => names.includes(one.name))))
    verdict.note('The log or its witnesses are simulated: they were declared on one machine.');
  if (
    input.expect.package === undefined &&
    input.expect.buildId === undefined &&
    policy.rules.some((rule) => rule.quorum > (decision?.threshold ?? 0))
  )
    verdict.note(`Judged as ${decision.package.name}; other packages need more builders. If another was meant, --package says so.`);
  for (const note of decision.notes) verdict.note(note);
  return end(verdict.done());
}

export function toEntry(one: LoggedDocument): LoggedEntry {
  return {
    index: one.index,
    origin: one.log.name,
    payloadType: one.payloadType,
    payload: one.payload,
    digest: one.digest,
    signer: one.signer.id,
  };
}

/** One file can come out of several builds: the one that is expected counts, else one that was approved or agreed on, whatever the order. */
function decideAbout(documents: readonly LoggedDocument[], policy: Policy, input: ReleaseInput): Redecided | null {
  const builders = new Set<string>(policy.builders.map((one) => one.key.id));
  const ids = new Set<string>();
  for (const one of documents) {
    if (one.payloadType !== IN_TOTO_PAYLOAD || !builders.has(one.signer.id)) continue;
    const claim = readClaim(one.payload, one.digest, one.signer.id);
    if (claim?.outputs.some((output) => output.sha256 === input.artifact.sha256) === true) ids.add(claim.buildId);
  }
  const entries = documents.map(toEntry);
  const wanted = input.expect.buildId !== undefined && ids.has(input.expect.buildId) ? [input.expect.buildId] : [...ids].sort();
  const decided = wanted.flatMap((id) => redecide(policy, entries, id) ?? []);
  const good = decided.filter(
    ({
      decision: {
        accepted,
        groups,
        package: { name },
      },
    }) =>
      (input.expect.package === undefined || input.expect.package === name) &&
      groups.some((group) => group.digest === accepted && group.outputs.some((output) => output.sha256 === input.artifact.sha256)),
  );
  // Of several builds that it comes out of, one that was approved: what nobody has approved may be an older attempt.
  const { trust } = input;
  const approved =
    typeof trust === 'string' || good.length < 2
      ? undefined
      : good.find((one) => approvalOf(policy, entries, trust.root, one.decision).unsigned === null);
  return approved ?? good[0] ?? decided[0] ?? null;
}

/** Authentic as of the witnessed time is one thing, current another. */
function staleness(policy: Policy, currentUntil: number, witnessedAt: number | null, now: number): string | null {
  if (currentUntil <= now)
    return `authentic${witnessedAt === null ? '' : ` as of ${isoTime(witnessedAt)}`}, but what is current is only known until ${isoTime(currentUntil)}`;
  if (witnessedAt !== null && witnessedAt > now + DAY) return `a witness says that it saw this in the future (${isoTime(witnessedAt)})`;
  if (witnessedAt !== null && now - witnessedAt > policy.checkpointMaxAgeDays * DAY)
    return `authentic as of ${isoTime(witnessedAt)}, which is more than ${policy.checkpointMaxAgeDays} days ago`;
  return null;
}
