import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomFrom } from '../bytes/mutation-samples.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import { OPENING } from '../commitment/documents.ts';
import { sha256Hex } from '../digest/digest.ts';
import { formatDocument } from '../dsse/document.ts';
import { canonicalText } from '../json/canonical.ts';
import { VARIATION_NAMES } from '../policy/policy.ts';
import { type Ambient, DEALT_FACTS, type Deal, dealVariations } from './deal.ts';
import { coveredFacts, suspectsOf } from './suspects.ts';

const MANY = ['clock', 'cpu-model', 'load', 'memory'];
const TWO = ['address-layout', 'directory-order', 'kernel'];
const idOf = (number: number): string => sha256Hex(toUtf8(`build ${number}`));
const keysOf = (count: number): string[] => Array.from({ length: count }, (_, at) => sha256Hex(toUtf8(`key ${at}`)));
const deal = (count: number, build = 0, round = 1): Deal[] => dealVariations(idOf(build), round, keysOf(count));
const level = (ambient: Ambient, fact: string): string => canonicalText(ambient[fact] ?? null);
const pairs = <T>(all: readonly T[]): [T, T][] => all.flatMap((one, at) => all.slice(at + 1).map((other): [T, T] => [one, other]));
/** Who has the second level of a fact that has two, without regard to which of the two. */
const splitOf = (deals: readonly Deal[], fact: string): string => {
  const has = deals.map((one) => fact in one.ambient);
  return has.map((one) => (one === has[0] ? '0' : '1')).join('');
};

test('dealVariations gives any two of 2 to 8 builders different levels of every fact that has many', () => {
  for (let count = 2; count <= 8; count++)
    for (let build = 0; build < 20; build++)
      for (const [one, other] of pairs(deal(count, build)))
        for (const fact of MANY) assert.notEqual(level(one.ambient, fact), level(other.ambient, fact), `${count} builders: ${fact}`);
});

test('dealVariations covers every fact with two builders or more, so that two who agree can differ in each', () => {
  for (let count = 2; count <= 8; count++) assert.deepEqual(coveredFacts(deal(count).map((one) => one.ambient)), [...MANY, ...TWO].sort());
});

test('dealVariations splits 2 builders by every two-level fact, and 3 to 8 differently by each, as evenly as can be', () => {
  for (const fact of TWO) assert.equal(splitOf(deal(2), fact), '01');
  for (let count = 3; count <= 8; count++)
    for (let build = 0; build < 10; build++) {
      const splits = TWO.map((fact) => splitOf(deal(count, build), fact));
      assert.equal(new Set(splits).size, TWO.length, `${count}: ${splits.join(' ')}`);
      for (const split of splits) {
        const ones = split.split('1').length - 1;
        assert.equal(Math.min(ones, count - ones), Math.floor(count / 2), split);
      }
    }
});

test('dealVariations is the same for the same keys in any order, given twice or not', () => {
  for (let count = 1; count <= 8; count++) {
    const keys = keysOf(count);
    const sorted = (deals: readonly Deal[]): string => canonicalText(JSON.parse(JSON.stringify(deals)));
    const expected = sorted(dealVariations(idOf(0), 1, keys));
    for (const other of [[...keys].reverse(), [...keys, ...keys], keys.slice(1).concat(keys.slice(0, 1))])
      assert.equal(sorted(dealVariations(idOf(0), 1, other)), expected);
    assert.deepEqual([...dealVariations(idOf(0), 1, keys)].map((one) => one.key).sort(), [...keys].sort());
  }
});

test('dealVariations deals otherwise in another round and for another build', () => {
  const of = (build: number, round: number): string =>
    deal(8, build, round)
      .map((one) => one.key)
      .join();
  assert.equal(new Set(Array.from({ length: 20 }, (_, round) => of(0, round + 1))).size, 20);
  assert.equal(new Set(Array.from({ length: 20 }, (_, build) => of(build, 1))).size, 20);
  // With two builders each of them gets the unvaried level in some rounds.
  const unvaried = new Set(
    Array.from({ length: 20 }, (_, round) => deal(2, 0, round + 1).find((one) => Object.keys(one.ambient).length === 0)?.key),
  );
  assert.equal(unvaried.size, 2);
});

test('dealVariations varies ambient facts that a policy can ask for, and nothing that the definition fixes', () => {
  assert.deepEqual([...DEALT_FACTS].sort(), [...VARIATION_NAMES].sort());
  for (let count = 0; count <= 100; count++)
    for (const { ambient } of deal(count)) for (const fact of Object.keys(ambient)) assert.ok(DEALT_FACTS.includes(fact), fact);
  for (const fixed of [
    'build-path',
    'path',
    'user',
    'uid',
    'umask',
    'cpus',
    'cpu-count',
    'locale',
    'zone',
    'timezone',
    'hostname',
    'host-name',
  ])
    assert.ok(!DEALT_FACTS.includes(fixed), fixed);
});

test('dealVariations leaves one builder as it is, so that a difference can be held against a plain build', () => {
  for (let count = 1; count <= 8; count++)
    assert.equal(deal(count).filter((one) => Object.keys(one.ambient).length === 0).length, 1, `${count} builders`);
  assert.deepEqual(deal(0), []);
});

test('dealVariations makes what an opening can say', () => {
  const roster = deal(100).map(({ key, ambient }, at) => ({ builder: `b${at}`, key, ambient }));
  const opening = { schema: 'lockstep-opening/v1', build_id: idOf(0), round: 1, policy: { version: 1, sha256: idOf(1) } } as const;
  assert.doesNotThrow(() => formatDocument(OPENING, { ...opening, log: 'log.example/farm', commit_by: '2026-01-01T00:00:00Z', roster }));
});

test('suspectsOf finds the one planted cause in 1000 disagreements, and names no fact that does not fit', (t) => {
  const seed = Number(process.env['LOCKSTEP_FUZZ_SEED'] ?? Date.now() % 1_000_000_000);
  t.diagnostic(`LOCKSTEP_FUZZ_SEED=${seed}`);
  const random = randomFrom(seed);
  let narrowed = 0;
  let runs = 0;
  for (; runs < 1000; runs++) {
    const count = 2 + random(7);
    const deals = deal(count, random(1000), 1 + random(1000));
    const cause = DEALT_FACTS[random(DEALT_FACTS.length)] ?? '';
    // Levels of the cause fall into two results, whichever they are; that nobody disagrees is no disagreement.
    const results = new Map<string, string>();
    const resultAt = (ambient: Ambient): string => {
      const at = level(ambient, cause);
      const found = results.get(at) ?? (TWO.includes(cause) ? at : `result ${random(2)}`);
      results.set(at, found);
      return found;
    };
    const observed = deals.map(({ ambient }) => ({ ambient, result: resultAt(ambient) }));
    if (new Set(observed.map((one) => one.result)).size < 2) {
      runs--;
      continue;
    }
    const suspects = suspectsOf(observed);
    assert.ok(suspects.includes(cause), `${cause} is not among ${suspects.join(', ')}`);
    for (const fact of DEALT_FACTS) {
      const fits = pairs(observed).every(([a, b]) => level(a.ambient, fact) !== level(b.ambient, fact) || a.result === b.result);
      assert.equal(suspects.includes(fact), fits, fact);
    }
    if (suspects.length < DEALT_FACTS.length) narrowed++;
    // Of the facts with two levels, one at most explains it: their splits are all different.
    if (count > 2) assert.ok(suspects.filter((fact) => TWO.includes(fact)).length <= 1);
    assert.deepEqual(suspectsOf([...observed].reverse()), suspects);
  }
  assert.ok(narrowed > 700, `narrowed ${narrowed} of ${runs}`);
});

test('suspectsOf names nothing for a build that is unstable by itself, and everything that differs for a single pair', () => {
  assert.deepEqual(
    suspectsOf([
      { ambient: { clock: 1 }, result: 'x' },
      { ambient: { clock: 1 }, result: 'y' },
    ]),
    [],
  );
  assert.deepEqual(
    suspectsOf([
      { ambient: { clock: 1, load: 2 }, result: 'x' },
      { ambient: { load: 2 }, result: 'y' },
    ]),
    ['clock'],
  );
  assert.deepEqual(suspectsOf([]), []);
});

test('coveredFacts are those in which two differ, "as it is" being a level', () => {
  assert.deepEqual(coveredFacts([{ clock: 1, load: { a: 1, b: 2 } }, { load: { b: 2, a: 1 } }]), ['clock']);
  assert.deepEqual(coveredFacts([{ clock: 1 }]), []);
  assert.deepEqual(coveredFacts([{ clock: 1 }, { clock: '1' }]), ['clock']);
  assert.deepEqual(coveredFacts([]), []);
});
