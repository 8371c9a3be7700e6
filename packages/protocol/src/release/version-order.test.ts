/** The order of versions, against dpkg: the program whose rule it is. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import { compareVersions } from './version-order.ts';

const characters = (letters: string, max: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...letters), minLength: 0, maxLength: max });
const digits = fc.oneof(
  characters('0123', 3),
  fc.constantFrom('0', '00', '007', '10', '9', '18446744073709551616', '99999999999999999998'),
);
/** As Debian policy allows them: a digit first, colon only with an epoch, hyphen only with a revision. */
const version = fc
  .record({
    epoch: fc.oneof({ weight: 3, arbitrary: fc.constant('') }, { weight: 1, arbitrary: fc.constantFrom('0:', '00:', '1:', '2:', '10:') }),
    first: fc.constantFrom('0', '1', '2', '10'),
    parts: fc.array(fc.oneof(digits, characters('.+~aAzZ', 3), fc.constantFrom('.', '~', '~~', '~rc', '+dfsg', '-', '.0')), {
      maxLength: 5,
    }),
    revision: fc.oneof(fc.constant(''), fc.constantFrom('-0', '-1', '-1ubuntu2', '-0.1~', '-01', '-a')),
  })
  .map(({ epoch, first, parts, revision }) => {
    const upstream = `${first}${parts.join('')}`;
    return `${epoch}${revision === '' ? upstream.replaceAll('-', '') : upstream}${revision}`;
  });
/** Random versions differ early: also those that are the same but for a character. */
const pair = fc.oneof(
  fc.tuple(version, version),
  fc
    .tuple(version, fc.nat(30), fc.constantFrom('', '0', '1', '.', '~', '+', 'a', 'Z', '~~', '00'))
    .map(([text, at, more]): [string, string] => [
      text,
      `${text.slice(0, at % text.length) || '1'}${more}${text.slice((at % text.length) + 1)}`,
    ]),
);

const HAND_MADE = [
  '0',
  '1',
  '1.0',
  '1.00',
  '1.0.0',
  '1.0-0',
  '1.0-1',
  '1.0~rc1',
  '1.0~~',
  '1.0~',
  '1.0a',
  '1.0+1',
  '1.0.1',
  '1.0-1~bpo1',
  '2.10',
  '2.9',
  '10',
  '9',
  '1:0.1',
  '0:1',
  '1.2.3-4-5',
  '1.2.3-4',
  '20240101',
  '1.0A',
  '1.0z',
  '1.0Z',
  '1.0+dfsg-1',
  '1.0.+1',
];
const isWellFormed = (text: string): boolean => /^(?:[0-9]+:)?[0-9][A-Za-z0-9.+~-]*$/.test(text) && !text.endsWith('-');

/** What dpkg says of each pair: below 0, 0 or above 0. */
function dpkgOrder(pairs: readonly (readonly [string, string])[]): number[] {
  // "$1 $2 $3 $4 …" in one shell: one process per pair and relation, and none in between.
  const script =
    'while [ $# -gt 0 ]; do if dpkg --compare-versions "$1" lt "$2"; then echo -1; elif dpkg --compare-versions "$1" eq "$2"; then echo 0; elif dpkg --compare-versions "$1" gt "$2"; then echo 1; else echo none; fi; shift 2; done';
  const told = execFileSync('sh', ['-c', script, 'sh', ...pairs.flat()], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  const order = told.trimEnd().split('\n').map(Number);
  assert.equal(order.length, pairs.length);
  return order;
}

test('compareVersions agrees with dpkg, for generated versions', () => {
  const seed = Number(process.env['LOCKSTEP_FUZZ_SEED'] ?? Date.now() % 1_000_000_000);
  const generated = fc.sample(pair, { numRuns: 400, seed }).filter((one) => one.every(isWellFormed));
  const known = HAND_MADE.map((one, index): [string, string] => [one, HAND_MADE[(index * 7 + 3) % HAND_MADE.length]!]);
  const pairs = [...generated, ...known, ...known.map(([a, b]): [string, string] => [b, a])];
  assert.ok(generated.length > 250, `${generated.length} are well-formed`);
  const order = dpkgOrder(pairs);
  for (const kind of [-1, 0, 1]) assert.ok(order.includes(kind), `none of them is ${kind}`);
  for (const [index, [a, b]] of pairs.entries())
    assert.equal(Math.sign(compareVersions(a, b)), order[index], `${a} and ${b} (LOCKSTEP_FUZZ_SEED=${seed})`);
});

test('compareVersions is an order for any text', () => {
  const text = fc.oneof(
    version,
    fc.string({ unit: 'grapheme', maxLength: 12 }),
    fc.string({ unit: 'binary', maxLength: 8 }),
    fc.constant(''),
  );
  const sign = (a: string, b: string): number => Math.sign(compareVersions(a, b));
  fc.assert(
    fc.property(text, text, text, (a, b, c) => {
      assert.equal(sign(a, a), 0);
      assert.equal(sign(a, b) + sign(b, a), 0);
      if (sign(a, b) <= 0 && sign(b, c) <= 0) assert.ok(sign(a, c) <= 0);
      if (sign(a, b) === 0) assert.equal(sign(a, c), sign(b, c));
    }),
    { numRuns: 3000 },
  );
});

test('compareVersions of names as long as they may be is quick', () => {
  const long = 'a1'.repeat(2048);
  const begun = process.cpuUsage();
  assert.equal(compareVersions(long, `${long.slice(0, -1)}2`) < 0, true);
  assert.ok(process.cpuUsage(begun).user < 1_000_000);
});
