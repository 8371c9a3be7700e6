import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Differs, findCauses, remembered } from './bisect.ts';

const NAMES = ['clock', 'path', 'user', 'locale', 'zone', 'order', 'cpus', 'kernel', 'home', 'host', 'umask', 'load'];

/** Differs as soon as every member of one cause is applied, as a build does. */
function world(causes: readonly (readonly string[])[]): { differs: Differs<string>; builds: () => number } {
  let builds = 0;
  return {
    builds: () => builds,
    differs: async (applied) => {
      builds++;
      return causes.some((cause) => cause.every((one) => applied.includes(one)));
    },
  };
}

const sorted = (causes: readonly (readonly string[])[]): string[] => causes.map((cause) => [...cause].sort().join(' ')).sort();

for (const [what, causes] of Object.entries({
  none: [],
  'one cause': [['zone']],
  'the first': [['clock']],
  'the last': [['load']],
  'two independent causes': [['clock'], ['umask']],
  'a conjunction': [['clock', 'locale', 'load']],
  'a conjunction beside a single cause': [['path', 'host'], ['user']],
  'everything by itself': NAMES.map((name) => [name]),
  'everything together': [NAMES],
})) {
  test(`findCauses: ${what}`, async () => assert.deepEqual(sorted(await findCauses(NAMES, world(causes).differs)), sorted(causes)));
}

test('findCauses of no suspects builds nothing', async () => {
  const { differs, builds } = world([[]]);
  assert.deepEqual(await findCauses([], differs), []);
  assert.equal(builds(), 0);
});

/** Disjoint causes: the members of each cause are taken in turn from a shuffled list. */
const disjoint = fc.tuple(fc.shuffledSubarray(NAMES), fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 5 })).map(([names, sizes]) => {
  const rest = [...names];
  return sizes.map((size) => rest.splice(0, size)).filter((cause) => cause.length > 0);
});

test('findCauses finds exactly the causes, in any order of suspects, and with few builds', async () => {
  await fc.assert(
    fc.asyncProperty(disjoint, fc.shuffledSubarray(NAMES, { minLength: NAMES.length }), async (causes, suspects) => {
      const { differs, builds } = world(causes);
      assert.deepEqual(sorted(await findCauses(suspects, differs)), sorted(causes));
      // Junker: 2k·log2(n/k) + 2k for a cause of k among n; and one build for each round.
      const bound =
        causes.reduce((sum, { length: k }) => sum + 2 * k * Math.ceil(Math.log2(NAMES.length / k) + 1) + 2 * k, 0) + causes.length + 1;
      assert.ok(builds() <= bound, `${builds()} builds, at most ${bound} expected`);
    }),
    { numRuns: 1000 },
  );
});

test('findCauses of causes that overlap names minimal ones, and leaves nothing that differs', async () => {
  const overlapping = fc.array(fc.subarray(NAMES, { minLength: 1, maxLength: 3 }), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(overlapping, async (causes) => {
      const { differs } = world(causes);
      const found = await findCauses(NAMES, differs);
      for (const cause of found) {
        assert.equal(await differs(cause), true);
        for (const one of cause) assert.equal(await differs(cause.filter((other) => other !== one)), false, 'not minimal');
      }
      const taken = new Set(found.flat());
      assert.equal(await differs(NAMES.filter((name) => !taken.has(name))), false);
    }),
    { numRuns: 1000 },
  );
});

test('remembered asks once for each set, whatever its order', async () => {
  const { differs, builds } = world([['clock']]);
  const ask = remembered(differs, (one) => one);
  const answers = await Promise.all([ask(['clock', 'path']), ask(['path', 'clock']), ask(['path'])]);
  assert.deepEqual(answers, [true, true, false]);
  assert.equal(builds(), 2);
});
