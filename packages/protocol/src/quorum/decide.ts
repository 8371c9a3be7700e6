/**
 * The quorum: agreement on every output digest by k builders from k independent failure domains, out of those that the
 * policy lists. Dissent is never outvoted: it holds the definition until arbiters resolve it. Pure.
 */
import type { Round } from '../commitment/round.ts';
import type { Definition } from '../definition/definition.ts';
import { buildId } from '../definition/definition.ts';
import { type Sha256, sha256Hex } from '../digest/digest.ts';
import { canonicalBytes, canonicalText } from '../json/canonical.ts';
import { independentDomains } from '../policy/domain.ts';
import { isTrustedSource, type Policy, type PolicyBuilder, type PolicyRule, ruleFor } from '../policy/policy.ts';
import { coveredFacts, suspectsOf } from '../variation/suspects.ts';
import { type Claim, outputsDigest } from './claim.ts';
import type { DecidedBuilder, DecidedGroup, Decision, QuorumResult } from './decision.ts';

export interface ArbiterVote {
  readonly arbiter: Sha256;
  readonly dispute: string;
  readonly accept: string | null;
  readonly reason: string;
}

export interface QuorumInput {
  readonly policy: Policy;
  readonly definition: Definition;
  /** Statements whose signatures were checked. */
  readonly claims: readonly Claim[];
  /** null when nothing was committed: then nothing counts where the policy asks for commitments. */
  readonly round: Round | null;
  readonly votes: readonly ArbiterVote[];
  /** Whether a statement about it was logged before the round opened. */
  readonly alreadyPublic?: boolean;
}

interface Counted {
  readonly builder: PolicyBuilder;
  readonly claim: Claim;
  readonly digest: Sha256;
}

export function decideQuorum(input: QuorumInput): Decision {
  const { policy, definition } = input;
  // Hashed once: each is looked at several times.
  const digests = new Map(input.claims.map((claim) => [claim, outputsDigest(claim.outputs)]));
  const digestOf = (claim: Claim): Sha256 => digests.get(claim) ?? outputsDigest(claim.outputs);
  const { name, version, tier } = definition.manifest;
  const found = ruleFor(policy, name, tier);
  const able = policy.builders.filter((builder) => builder.tiers.includes(tier as 'container'));
  const id = buildId(definition);
  const base = {
    schema: 'lockstep-decision/v1' as const,
    build_id: id,
    package: { name, version },
    tier,
    policy: { name: policy.name, version: policy.version, sha256: policy.sha256 },
    rule: found === null ? null : found.index + 1,
    round: input.round?.opening.round ?? null,
    threshold: found?.rule.quorum ?? 0,
    of: able.length,
    checks: found?.rule.checks ?? [],
  };
  const judged = able.map((builder) => judge(builder, input, id, found?.rule ?? null, digestOf));
  const counted = judged.flatMap((one) => (one.counted === null ? [] : [one.counted]));
  const dissent = dissentOf(able, input.claims, id, counted, digestOf);
  const groups = groupsOf(counted, dissent);
  const dispute = groups.length > 1 ? disputeOf(id, [...counted, ...dissent]) : null;
  const outcome =
    found === null
      ? { result: 'refused' as const, reason: `no rule of the policy is about ${name} in the tier ${tier}` }
      : (refusal(found.rule, definition) ?? concludeGroups(policy, found.rule, groups, counted, dispute, input.votes));
  const accepted = outcome.result === 'agreed' || outcome.result === 'resolved' ? (outcome.accepted ?? null) : null;
  const winners = counted.filter((one) => one.digest === (accepted ?? groups[0]?.digest));
  const covered = coveredFacts(winners.map((one) => one.claim.ambient));
  const required = found?.rule.variations ?? [];
  return {
    ...base,
    result: outcome.result,
    reason: outcome.reason,
    accepted,
    groups,
    differences: differencesOf(groups),
    builders: judged.map((one) => one.decided),
    dispute,
    resolution: outcome.resolution ?? null,
    variations: { required, covered, missing: required.filter((fact) => !covered.includes(fact)) },
    suspects:
      groups.length > 1 ? suspectsOf([...counted, ...dissent].map((one) => ({ ambient: one.claim.ambient, result: one.digest }))) : [],
    simulated: counted.some((one) => one.builder.domain.simulated),
    notes: notesOf(found?.rule ?? null, counted, input),
  };
}

interface Conclusion {
  readonly result: QuorumResult;
  readonly reason: string;
  readonly accepted?: string;
  readonly resolution?: Decision['resolution'];
}

function refusal(rule: PolicyRule, definition: Definition): Conclusion | null {
  const { ref } = definition.lock.source;
  if (!isTrustedSource(rule, ref)) return { result: 'refused', reason: `the policy does not trust the source ${ref}` };
  if (definition.lock.environment.kind === 'host')
    return { result: 'refused', reason: 'the environment is the builder’s own machine, which is not pinned' };
  return null;
}

function concludeGroups(
  policy: Policy,
  rule: PolicyRule,
  groups: readonly DecidedGroup[],
  counted: readonly Counted[],
  dispute: string | null,
  votes: readonly ArbiterVote[],
): Conclusion {
  const [first] = groups;
  if (first === undefined) return { result: 'pending', reason: 'no statement counts yet' };
  if (dispute === null) return concludeOne(rule, first, counted, 'agreed');
  const resolved = resolutionOf(policy, groups, dispute, votes);
  if (resolved === null)
    return { result: 'disputed', reason: `builders disagree: ${groups.map((one) => one.builders.join('+')).join(' against ')}` };
  const { accept, resolution } = resolved;
  if (accept === null) return { result: 'rejected', reason: 'arbiters have accepted none of the results', resolution };
  const group = groups.find((one) => one.digest === accept);
  if (group === undefined) return { result: 'disputed', reason: 'arbiters have accepted a result that nobody has' };
  // Arbiters take the dissent away; they do not stand in for builders.
  return { ...concludeOne(rule, group, counted, 'resolved'), resolution };
}

function concludeOne(rule: PolicyRule, group: DecidedGroup, counted: readonly Counted[], good: 'agreed' | 'resolved'): Conclusion {
  if (group.independent < rule.quorum)
    return {
      result: 'pending',
      reason: `${group.independent} of the ${rule.quorum} builders from independent domains agree (${group.builders.join(', ')})`,
    };
  const covered = coveredFacts(counted.filter((one) => one.digest === group.digest).map((one) => one.claim.ambient));
  const missing = rule.variations.filter((fact) => !covered.includes(fact));
  if (missing.length > 0) return { result: 'pending', reason: `those who agree do not differ in ${missing.join(', ')}` };
  return {
    result: good,
    reason: `${group.builders.join(', ')} agree on every output; ${group.independent} independent domains, ${rule.quorum} needed`,
    accepted: group.digest,
  };
}

function judge(
  builder: PolicyBuilder,
  input: QuorumInput,
  id: string,
  rule: PolicyRule | null,
  digestOf: (claim: Claim) => Sha256,
): { decided: DecidedBuilder; counted: Counted | null } {
  const { operator, site, lineage, simulated } = builder.domain;
  const decide = (state: DecidedBuilder['state'], reason: string, claim: Claim | null): DecidedBuilder => ({
    name: builder.name,
    key: builder.key.id,
    operator,
    site,
    lineage,
    simulated,
    state,
    reason,
    statement: claim?.statement ?? null,
    outputs: claim === null ? null : digestOf(claim),
  });
  const mine = input.claims.filter((claim) => claim.signer === builder.key.id && claim.buildId === id);
  const committed = rule?.commitments === 'required';
  const participant = input.round?.participants.find((one) => one.key === builder.key.id);
  if (committed) {
    if (input.round === null)
      return { decided: decide(mine.length > 0 ? 'not counted' : 'absent', 'no commitment is shown', mine[0] ?? null), counted: null };
    if (participant === undefined) return { decided: decide('absent', 'it is not on the roster of the round', null), counted: null };
    if (participant.state === 'out') return { decided: decide('not counted', participant.reason ?? '', mine[0] ?? null), counted: null };
    if (participant.state === 'waiting') return { decided: decide('absent', 'it has not committed', null), counted: null };
    if (participant.state === 'committed') return { decided: decide('absent', 'it has committed and not revealed', null), counted: null };
    const claim = mine.find((one) => one.statement === participant.statement);
    if (claim === undefined)
      return {
        decided: decide('absent', 'the statement that it revealed is not there, or is not one about this definition', null),
        counted: null,
      };
    return { decided: decide('counted', '', claim), counted: { builder, claim, digest: digestOf(claim) } };
  }
  const [first] = mine;
  if (first === undefined) return { decided: decide('absent', 'no statement of it', null), counted: null };
  return { decided: decide('counted', '', first), counted: { builder, claim: first, digest: digestOf(first) } };
}

/**
 * Whatever else a listed builder has said about this definition, in this round or any other, in time or late, holds it if
 * it differs: so that rounds cannot be repeated until the dissent is gone. It adds to nobody's number.
 */
function dissentOf(
  able: readonly PolicyBuilder[],
  claims: readonly Claim[],
  id: string,
  counted: readonly Counted[],
  digestOf: (claim: Claim) => Sha256,
): Counted[] {
  if (counted.length === 0) return [];
  const results = new Set(counted.map((one) => one.digest));
  return able.flatMap((builder) => {
    const own = counted.find((one) => one.builder === builder)?.digest;
    const others = claims
      .filter((claim) => claim.signer === builder.key.id && claim.buildId === id)
      .map((claim) => ({ builder, claim, digest: digestOf(claim) }))
      // What agrees with the only result that there is, late or twice, is no dissent; nor is it support.
      .filter((one) => one.digest !== own && (own !== undefined || results.size > 1 || !results.has(one.digest)));
    return [...new Map(others.map((one) => [one.digest, one])).values()];
  });
}

/** The most widely agreed first; ties by digest, so that the order is the same everywhere. */
function groupsOf(counted: readonly Counted[], dissent: readonly Counted[]): DecidedGroup[] {
  const digests = [...new Set([...counted, ...dissent].map((one) => one.digest))];
  return digests
    .map((digest): DecidedGroup => {
      const members = counted.filter((one) => one.digest === digest);
      const all = [...members, ...dissent.filter((one) => one.digest === digest)];
      return {
        digest,
        builders: [...new Set(all.map((one) => one.builder.name))],
        independent: independentDomains(members.map((one) => one.builder.domain)),
        outputs: all[0]?.claim.outputs ?? [],
      };
    })
    .sort((a, b) => b.independent - a.independent || b.builders.length - a.builders.length || (a.digest < b.digest ? -1 : 1));
}

/** Names who said what about which definition: a resolution of one dispute is none of another. */
function disputeOf(id: string, said: readonly Counted[]): string {
  const results = [...new Set(said.map((one) => one.digest))].sort().map((outputs) => ({
    outputs,
    builders: [...new Set(said.filter((one) => one.digest === outputs).map((one) => one.builder.key.id))].sort(),
  }));
  return sha256Hex(canonicalBytes({ build_id: id, results }));
}

function resolutionOf(
  policy: Policy,
  groups: readonly DecidedGroup[],
  dispute: string,
  votes: readonly ArbiterVote[],
): { accept: string | null; resolution: NonNullable<Decision['resolution']> } | null {
  const { arbiters } = policy;
  if (arbiters === null) return null;
  const names = new Map<string, string>(arbiters.members.map(({ key, name }) => [key.id, name]));
  // The last word of each arbiter counts, once.
  const last = new Map(votes.filter((vote) => vote.dispute === dispute && names.has(vote.arbiter)).map((vote) => [vote.arbiter, vote]));
  const reached = [...groups.map((one) => one.digest), null].flatMap((accept) => {
    const agreeing = [...last.values()].filter((vote) => vote.accept === accept);
    return agreeing.length < arbiters.threshold ? [] : [{ accept, agreeing }];
  });
  const [only] = reached;
  // Arbiters who disagree in numbers have resolved nothing.
  if (only === undefined || reached.length > 1) return null;
  const sorted = only.agreeing
    .map((vote) => ({ name: names.get(vote.arbiter) ?? '', reason: vote.reason }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return { accept: only.accept, resolution: { arbiters: sorted.map((one) => one.name), reasons: sorted.map((one) => one.reason) } };
}

function differencesOf(groups: readonly DecidedGroup[]): Decision['differences'] {
  if (groups.length < 2) return [];
  const names = [...new Set(groups.flatMap((group) => group.outputs.map((one) => one.name)))].sort();
  return names.flatMap((output) => {
    const values = new Map<string | null, string[]>();
    for (const group of groups) {
      const sha256 = group.outputs.find((one) => one.name === output)?.sha256 ?? null;
      values.set(sha256, [...(values.get(sha256) ?? []), ...group.builders]);
    }
    return values.size < 2 ? [] : [{ output, values: [...values].map(([sha256, builders]) => ({ sha256, builders })) }];
  });
}

function notesOf(rule: PolicyRule | null, counted: readonly Counted[], { round, alreadyPublic }: QuorumInput): string[] {
  const notes: string[] = [];
  if (counted.some((one) => one.builder.domain.simulated)) notes.push('Failure domains are simulated: they were declared on one machine.');
  if (rule !== null && rule.quorum === 1) notes.push('One builder is enough for this package: nothing here is reproduced by another.');
  if (rule?.commitments === 'none' && rule.quorum > 1) notes.push('Without commitments a builder may have copied another’s result.');
  if (round !== null && alreadyPublic === true)
    notes.push('A result of this definition was public before the round opened: its commitments show nothing about copying.');
  const others = counted.filter(({ builder, claim }) => {
    const dealt = round?.opening.roster.find((one) => one.key === builder.key.id)?.ambient;
    return dealt !== undefined && canonicalText({ ...dealt }) !== canonicalText({ ...claim.ambient });
  });
  if (others.length > 0)
    notes.push(`Not built under the conditions that the round dealt: ${others.map((one) => one.builder.name).join(', ')}.`);
  const lineages = new Set(counted.map((one) => one.builder.domain.lineage));
  if (counted.length > 1 && lineages.size === 1)
    notes.push(`All of them run on ${[...lineages].join('')}: what is wrong there is wrong in each.`);
  return notes;
}
