import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalBytes, canonicalText } from './canonical.ts';
import { type Json, parseJson } from './parse.ts';

const read = (name: string): unknown => JSON.parse(readFileSync(new URL(`../../../../testdata/jcs/${name}`, import.meta.url), 'utf8'));
const vectors = read('vectors.json') as { case: string; input: string; canonical: string }[];
const numbers = read('numbers.json') as { bits: string; text: string | null }[];

for (const vector of vectors) {
  test(`canonicalText: ${vector.case}`, () => {
    assert.equal(canonicalText(parseJson(vector.input)), vector.canonical);
    assert.equal(canonicalText(parseJson(vector.canonical)), vector.canonical);
  });
}

test('canonicalBytes is the UTF-8 that RFC 8785 section 3.2.4 lists', () => {
  const expected =
    '7b226c69746572616c73223a5b6e756c6c2c747275652c66616c73655d2c226e756d62657273223a5b3333333333333333332e333333333333332c31652b33302c342e352c302e3030322c31652d32375d2c22737472696e67223a22e282ac245c75303030665c6e4127425c225c5c5c5c5c222f227d';
  assert.equal(Buffer.from(canonicalBytes(parseJson(vectors[0]?.input ?? ''))).toString('hex'), expected);
});

for (const { bits, text } of numbers) {
  test(`canonicalText of the double ${bits} (RFC 8785 appendix B)`, () => {
    const value = Buffer.from(bits, 'hex').readDoubleBE(0);
    if (text === null) assert.throws(() => canonicalText(value), TypeError);
    else assert.equal(canonicalText(value), text);
  });
}

test('canonicalText refuses what has no canonical form', () => {
  for (const value of [undefined, Number.NaN, Number.POSITIVE_INFINITY, '\ud800', { a: '\udc00' }, { '\ud800': 1 }, [undefined]])
    assert.throws(() => canonicalText(value as Json), TypeError);
});

test('canonicalText does not depend on the order in which keys were written', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'binary' }), fc.integer()), fc.infiniteStream(fc.nat()), (table, order) => {
      const entries = Object.entries(table).filter(([key]) => key !== '__proto__');
      const shuffled = entries
        .map((entry) => ({ entry, rank: order.next().value ?? 0 }))
        .sort((a, b) => a.rank - b.rank)
        .map(({ entry }) => entry);
      assert.equal(canonicalText(Object.fromEntries(shuffled)), canonicalText(Object.fromEntries(entries)));
    }),
    { numRuns: 1000 },
  );
});
