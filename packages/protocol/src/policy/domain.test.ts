import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { independentDomains } from './domain.ts';

type Place = Parameters<typeof independentDomains>[0][number];

const at = (...names: readonly string[]): Place[] => names.map((name) => ({ operator: name.charAt(0), site: name.charAt(1) }));

/** The largest subset of which no two share an operator or a site, by trying every subset. */
function bruteForce(places: readonly Place[]): number {
  let best = 0;
  for (let mask = 0; mask < 2 ** places.length; mask++) {
    const chosen = places.filter((_, index) => mask & (1 << index));
    const differ = chosen.every((one, index) =>
      chosen.every((other, other_) => other_ <= index || (one.operator !== other.operator && one.site !== other.site)),
    );
    if (differ) best = Math.max(best, chosen.length);
  }
  return best;
}

test('independentDomains counts neither one operator at two sites nor two operators at one site twice', () => {
  for (const [places, expected] of [
    [[], 0],
    [['A1'], 1],
    [['A1', 'A1'], 1],
    [['A1', 'A2'], 1],
    [['A1', 'B1'], 1],
    [['A1', 'B2'], 2],
    [['A1', 'A2', 'B1'], 2],
    // Taking A1 first would leave nothing to B.
    [['A1', 'A2', 'B1', 'C3'], 3],
    [['A1', 'A2', 'A3', 'B1', 'C1'], 2],
    [['A1', 'B2', 'C3', 'D1', 'A4'], 4],
  ] as const)
    assert.equal(independentDomains(at(...places)), expected, places.join(' '));
});

test('independentDomains does not confuse an operator with a site of the same name', () => {
  assert.equal(independentDomains(at('AB', 'BA')), 2);
  assert.equal(
    independentDomains([
      { operator: '__proto__', site: 'constructor' },
      { operator: 'constructor', site: '__proto__' },
    ]),
    2,
  );
});

test('independentDomains agrees with trying every subset, in any order', () => {
  const place = fc.record({ operator: fc.constantFrom('A', 'B', 'C', 'D'), site: fc.constantFrom('1', '2', '3', '4') });
  fc.assert(
    fc.property(fc.array(place, { maxLength: 9 }), (places) => {
      const expected = bruteForce(places);
      assert.equal(independentDomains(places), expected);
      assert.equal(independentDomains([...places].reverse()), expected);
    }),
    { numRuns: 1000 },
  );
});
