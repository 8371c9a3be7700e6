import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Capabilities } from '@lockstep/api/routes/builders';
import type { PolicyRule } from '@lockstep/protocol/policy/policy';
import { sampleSigner } from '@lockstep/protocol/policy/samples';
import fc from 'fast-check';
import type { Needs } from '../jobs/needs.ts';
import { CAPABLE } from '../samples.ts';
import { chooseRoster, type LiveBuilder } from './roster.ts';

const JOB = 'a'.repeat(64);
const NEEDS: Needs = { tier: 'container', architecture: 'any', memoryMb: 512, diskMb: 1024, seconds: 600, cpus: 1 };
const RULE: PolicyRule = { packages: '*', tier: 'container', quorum: 2, commitments: 'none', variations: [], checks: [], sources: ['*'] };

function live(at: number, operator: string, site: string, can: Partial<Capabilities> = {}, backlog = 0): LiveBuilder {
  const { key } = sampleSigner(100 + at);
  return {
    name: `b${at}`,
    listed: { name: `b${at}`, key, domain: { operator, site, lineage: 'x', simulated: false }, tiers: ['container'], log: null },
    can: { ...CAPABLE, ...can },
    backlog,
  };
}

const domains = fc.array(fc.tuple(fc.constantFrom('A', 'B', 'C', 'D'), fc.constantFrom('1', '2', '3', '4')), { maxLength: 9 });

/** The largest set in which no two share an operator or a site, by looking at every set. */
function largest(all: readonly (readonly [string, string])[]): number {
  let best = 0;
  for (let mask = 0; mask < 2 ** all.length; mask++) {
    const chosen = all.filter((_one, at) => (mask & (1 << at)) !== 0);
    const isFine =
      new Set(chosen.map(([one]) => one)).size === chosen.length && new Set(chosen.map(([, one]) => one)).size === chosen.length;
    if (isFine) best = Math.max(best, chosen.length);
  }
  return best;
}

function agreesWithBruteForce(quorum: number): void {
  fc.assert(
    fc.property(domains, fc.nat(2), fc.nat(50), (all, spares, round) => {
      const builders = all.map(([operator, site], at) => live(at, operator, site, {}, at % 3));
      const roster = chooseRoster(JOB, round, NEEDS, { ...RULE, quorum }, builders, spares);
      const { members } = roster;
      assert.equal(roster.lacking === null, largest(all) >= quorum, `${JSON.stringify(all)} round ${round}: ${roster.lacking}`);
      if (roster.lacking !== null) return assert.equal(members.length, 0);
      assert.ok(members.length >= quorum && members.length <= quorum + spares);
      assert.equal(new Set(members.map((one) => one.builder.listed.domain.operator)).size, members.length);
      assert.equal(new Set(members.map((one) => one.builder.listed.domain.site)).size, members.length);
    }),
    { numRuns: 400 },
  );
}

test('chooseRoster finds two pairwise independent builders exactly when there are two', () => agreesWithBruteForce(2));
test('chooseRoster finds one exactly when there is one', () => agreesWithBruteForce(1));
test('chooseRoster finds three or four exactly when there are so many', () => {
  agreesWithBruteForce(3);
  agreesWithBruteForce(4);
});

test('chooseRoster takes those with the least to do for their slots', () => {
  const builders = [live(0, 'A', '1', { slots: 1 }, 2), live(1, 'B', '2', { slots: 4 }, 4), live(2, 'C', '3', { slots: 1 }, 0)];
  const { members } = chooseRoster(JOB, 1, NEEDS, RULE, builders, 0);
  assert.deepEqual(members.map((one) => one.builder.name).toSorted(), ['b1', 'b2']);
});

test('chooseRoster is the same for the same facts, and rounds go to others where all are as free', () => {
  const builders = Array.from({ length: 6 }, (_, at) => live(at, `O${at}`, `S${at}`));
  const names = (round: number) =>
    chooseRoster(JOB, round, NEEDS, RULE, builders, 0)
      .members.map((one) => one.builder.name)
      .join();
  assert.equal(names(1), names(1));
  assert.ok(new Set(Array.from({ length: 20 }, (_, round) => names(round))).size > 3);
});

test('chooseRoster leaves out who cannot do what is needed, and says what is lacking', () => {
  const other = live(0, 'A', '1');
  for (const [needs, can, lacking] of [
    [{ architecture: 'arm64' }, {}, /architecture arm64/],
    [{ memoryMb: 4096 }, { limits: { ...CAPABLE.limits, memoryMb: 4095 } }, /4096 MiB of memory/],
    [{ diskMb: 4096 }, { limits: { ...CAPABLE.limits, diskMb: 4095 } }, /4096 MiB of disk/],
    [{ seconds: 7200 }, { limits: { ...CAPABLE.limits, seconds: 7199 } }, /7200 s of time/],
    [{ cpus: 8 }, { limits: { ...CAPABLE.limits, cpus: 7 } }, /8 CPUs/],
    [{ tier: 'vm' }, {}, /tier vm/],
  ] as const) {
    const roster = chooseRoster(JOB, 1, { ...NEEDS, ...needs }, RULE, [other, live(1, 'B', '2', can)], 0);
    assert.match(roster.lacking ?? '', lacking);
    assert.deepEqual(roster.members, []);
  }
  const exact = { ...CAPABLE.limits, memoryMb: 512, diskMb: 1024, seconds: 600, cpus: 1 };
  assert.equal(
    chooseRoster(JOB, 1, NEEDS, RULE, [live(0, 'A', '1', { limits: exact }), live(1, 'B', '2', { limits: exact })], 0).lacking,
    null,
  );
});

test('chooseRoster asks for the variations that the rule needs, and any two differ in them', () => {
  const rule: PolicyRule = { ...RULE, variations: ['clock', 'kernel'] };
  const roster = chooseRoster(JOB, 1, NEEDS, rule, [live(0, 'A', '1', { variations: ['clock'] }), live(1, 'B', '2')], 0);
  assert.match(roster.lacking ?? '', /b0 lacks the variation kernel/);
  const builders = [0, 1, 2, 3].map((at) => live(at, `O${at}`, `S${at}`));
  for (let round = 1; round < 30; round++) {
    const { members } = chooseRoster(JOB, round, NEEDS, rule, builders, 2);
    // With a fact of two levels a spare could stand where it repeats a level.
    assert.equal(members.length, 2);
    for (const fact of rule.variations) assert.notDeepEqual(members[0]!.ambient[fact], members[1]!.ambient[fact], fact);
  }
  assert.equal(chooseRoster(JOB, 1, NEEDS, { ...rule, variations: ['clock', 'load'] }, builders, 2).members.length, 4);
});

test('chooseRoster deals nothing that a host cannot vary, and nothing for k = 1', () => {
  const builders = [0, 1, 2].map((at) => live(at, `O${at}`, `S${at}`, { variations: ['load'] }));
  for (const { ambient } of chooseRoster(JOB, 3, NEEDS, { ...RULE, quorum: 3 }, builders, 0).members)
    assert.deepEqual(
      Object.keys(ambient).filter((fact) => fact !== 'load'),
      [],
    );
  for (const { ambient } of chooseRoster(JOB, 3, NEEDS, { ...RULE, quorum: 1 }, builders, 2).members) assert.deepEqual(ambient, {});
});
