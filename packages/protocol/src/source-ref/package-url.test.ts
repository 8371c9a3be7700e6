import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatPackageUrl, type PackageUrl, parsePackageUrl } from './package-url.ts';

const read = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../../../testdata/package-url/${name}.json`, import.meta.url), 'utf8'));

for (const { text, canonical, ...expected } of read('accepted') as ({ text: string; canonical: string } & PackageUrl)[]) {
  test(`parsePackageUrl reads ${text}`, () => {
    const parsed = parsePackageUrl(text);
    assert.deepEqual(parsed, expected);
    assert.ok(parsed !== null);
    assert.equal(formatPackageUrl(parsed), canonical);
    assert.deepEqual(parsePackageUrl(canonical), expected);
  });
}

for (const text of read('rejected') as string[]) {
  test(`parsePackageUrl refuses ${JSON.stringify(text)}`, () => assert.equal(parsePackageUrl(text), null));
}

const lower = 'abcdefghijklmnopqrstuvwxyz0123456789';
const word = (first: string, rest: string): fc.Arbitrary<string> =>
  fc
    .tuple(fc.constantFrom(...first), fc.string({ unit: fc.constantFrom(...rest), minLength: 1, maxLength: 12 }))
    .map((parts) => parts.join(''));
const qualifiers = fc.dictionary(word('abc', `${lower}._-`), fc.string({ maxLength: 10, unit: 'grapheme' }), {
  maxKeys: 3,
  noNullPrototype: true,
});
const deb: fc.Arbitrary<PackageUrl> = fc.record(
  {
    type: fc.constant('deb' as const),
    namespace: word('abc', `${lower}-`),
    name: word(lower, `${lower}+.-`),
    version: fc.option(word('0123456789', `${lower}.+:~-`)),
    qualifiers,
  },
  { noNullPrototype: true },
);
const npm: fc.Arbitrary<PackageUrl> = fc.record(
  {
    type: fc.constant('npm' as const),
    namespace: fc.oneof(
      fc.constant(''),
      word(lower, `${lower}-._~`).map((name) => `@${name}`),
    ),
    name: word(lower, `${lower}-._~`),
    version: fc.option(
      fc
        .tuple(fc.nat(), fc.nat(), fc.nat(), fc.option(word(lower, `${lower}.-`)), fc.option(word(lower, `${lower}.-`)))
        .map(([a, b, c, pre, build]) => `${a}.${b}.${c}${pre === null ? '' : `-${pre}`}${build === null ? '' : `+${build}`}`),
    ),
    qualifiers,
  },
  { noNullPrototype: true },
);

test('formatPackageUrl and parsePackageUrl are inverse', () => {
  fc.assert(
    fc.property(fc.oneof(deb, npm), (url) => assert.deepEqual(parsePackageUrl(formatPackageUrl(url)), url)),
    { numRuns: 3000 },
  );
});

test('parsePackageUrl never throws, and what it accepts has one canonical spelling', () => {
  const token = fc.constantFrom(
    'pkg:',
    'deb',
    'npm',
    '/',
    '@',
    '?',
    '#',
    '&',
    '=',
    '%',
    '%40',
    '%2F',
    '%ff',
    'a',
    'b1',
    '1.0.0',
    '-',
    '+',
    '..',
    '\ud800',
    'é',
    '\n',
    ':',
  );
  const text = fc.oneof(
    fc.array(token, { maxLength: 10 }).map((parts) => parts.join('')),
    fc.array(token, { maxLength: 8 }).map((parts) => `pkg:npm/${parts.join('')}`),
    fc.array(token, { maxLength: 8 }).map((parts) => `pkg:deb/debian/ab${parts.join('')}`),
  );
  let accepted = 0;
  fc.assert(
    fc.property(text, (one) => {
      const parsed = parsePackageUrl(one);
      if (parsed === null || !one.isWellFormed()) return;
      accepted++;
      const canonical = formatPackageUrl(parsed);
      assert.deepEqual(parsePackageUrl(canonical), parsed, canonical);
      assert.equal(formatPackageUrl(parsed), canonical);
    }),
    { numRuns: 20_000 },
  );
  assert.ok(accepted > 50, `only ${accepted} were accepted: the test shows nothing`);
});
