/** Who is to build a job: live, listed, able, pairwise independent, and with the least to do. Pure. */
import type { PolicyBuilder, PolicyRule } from '@lockstep/protocol/policy/policy';
import { type Ambient, dealVariations } from '@lockstep/protocol/variation/deal';
import type { Capabilities } from '@lockstep/api/routes/builders';
import { cannotDo, type Needs } from '../jobs/needs.ts';

/** A builder of the policy that has joined and was heard of lately. */
export interface LiveBuilder {
  readonly name: string;
  readonly listed: PolicyBuilder;
  readonly can: Capabilities;
  /** Tasks that it was offered and has not finished. */
  backlog: number;
}

export interface RosterMember {
  readonly builder: LiveBuilder;
  readonly ambient: Ambient;
}

export interface Roster {
  readonly members: readonly RosterMember[];
  /** Why there are too few; null when there are enough. */
  readonly lacking: string | null;
}

/** Facts of which each builder gets a level of its own: any two differ in them. The others have two levels. */
const ALWAYS_DIFFERENT = new Set(['clock', 'cpu-model', 'memory', 'load']);

/** @param round its number: who gets which conditions depends on it */
export function chooseRoster(
  job: string,
  round: number,
  needs: Needs,
  rule: PolicyRule,
  live: readonly LiveBuilder[],
  spares: number,
): Roster {
  // Where every two that agree have to differ in a fact with two levels, a third could take the place of either and agree with the same level.
  const extra = rule.variations.every((fact) => ALWAYS_DIFFERENT.has(fact)) ? spares : 0;
  const wanted = rule.quorum + extra;
  const seed = Number.parseInt(job.slice(0, 8), 16) + round * 7919;
  // Of a thousand builders some dozens that have least to do are enough, unless their domains are too much alike.
  const some = leastLoaded(live, seed, CANDIDATES);
  const first = pairwiseIndependent(able(some, needs, rule), wanted);
  const independent =
    first.length >= wanted || some.length === live.length
      ? first
      : pairwiseIndependent(able(leastLoaded(live, seed, live.length), needs, rule), wanted);
  if (independent.length < rule.quorum) {
    const refused = live.flatMap((one) => {
      const missing = cannotDo(needs, one.can) ?? lacksVariation(rule, one);
      return missing === null ? [] : [`${one.name} lacks ${missing}`];
    });
    return {
      members: [],
      lacking: `${rule.quorum} builders of independent operators and sites; ${independent.length} of ${live.length} that are here will do${refused.length === 0 ? '' : ` (${refused.slice(0, 4).join('; ')})`}`,
    };
  }
  const deals = dealVariations(
    job,
    round,
    independent.map((one) => one.listed.key.id),
  );
  return {
    lacking: null,
    members: independent.map((builder) => ({
      builder,
      ambient: rule.quorum === 1 ? {} : possible(deals.find((deal) => deal.key === builder.listed.key.id)?.ambient ?? {}, builder.can),
    })),
  };
}

/** Candidates that are looked at first. */
const CANDIDATES = 48;

function able(builders: readonly LiveBuilder[], needs: Needs, rule: PolicyRule): LiveBuilder[] {
  return builders.filter((one) => cannotDo(needs, one.can) === null && lacksVariation(rule, one) === null);
}

/** Those with least to do, in that order; among equals another one begins for each job. */
function leastLoaded(live: readonly LiveBuilder[], seed: number, most: number): LiveBuilder[] {
  const start = live.length === 0 ? 0 : seed % live.length;
  const turned = live.map((_one, at) => live[(start + at) % live.length]).filter((one) => one !== undefined);
  if (most >= live.length) return turned.toSorted((a, b) => loadOf(a) - loadOf(b));
  // One pass by load instead of a sort of all: loads are few and small numbers.
  const byLoad = new Map<number, LiveBuilder[]>();
  for (const one of turned) {
    const load = Math.floor(loadOf(one));
    const same = byLoad.get(load);
    if (same === undefined) byLoad.set(load, [one]);
    else if (same.length < most) same.push(one);
  }
  return [...byLoad.keys()]
    .sort((a, b) => a - b)
    .flatMap((load) => byLoad.get(load) ?? [])
    .slice(0, most);
}

function loadOf({ backlog, can }: LiveBuilder): number {
  return backlog / can.slots;
}

function lacksVariation(rule: PolicyRule, { can }: LiveBuilder): string | null {
  const missing = rule.variations.find((fact) => !can.variations.includes(fact));
  return missing === undefined ? null : `the variation ${missing}`;
}

/** What a host cannot vary stays as it is there, and the opening says so. */
function possible(ambient: Ambient, can: Capabilities): Ambient {
  return Object.fromEntries(Object.entries(ambient).filter(([fact]) => can.variations.includes(fact)));
}

/**
 * As many as are wanted of which no two share operator or site: a matching of operators with sites (policy/domain.ts), grown
 * by augmenting paths (Kuhn) in the order given, so that whoever has least to do is taken where that is possible.
 */
function pairwiseIndependent(builders: readonly LiveBuilder[], most: number): LiveBuilder[] {
  const byOperator = new Map<string, LiveBuilder[]>();
  for (const one of builders) {
    const { operator } = one.listed.domain;
    byOperator.set(operator, [...(byOperator.get(operator) ?? []), one]);
  }
  const bySite = new Map<string, LiveBuilder>();
  const place = (operator: string, tried: Set<string>): boolean => {
    for (const one of byOperator.get(operator) ?? []) {
      const { site } = one.listed.domain;
      if (tried.has(site)) continue;
      tried.add(site);
      const other = bySite.get(site);
      if (other !== undefined && !place(other.listed.domain.operator, tried)) continue;
      bySite.set(site, one);
      return true;
    }
    return false;
  };
  for (const operator of byOperator.keys()) {
    if (bySite.size >= most) break;
    place(operator, new Set());
  }
  return [...bySite.values()];
}
