import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Sha256 } from '../digest/digest.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { type ChecksumLine, formatChecksums, isChecksumName, parseChecksums } from './checksums.ts';

const isRefused = (error: unknown): boolean => error instanceof LockstepError && error.code === 'ENVELOPE_INVALID';
const line = (name: string): ChecksumLine => ({ name, sha256: createHash('sha256').update(name).digest('hex') as Sha256 });

test('formatChecksums writes the form of BSD, sorted by the bytes of the names', () => {
  const text = formatChecksums([line('b'), line('\u{1f98a}'), line('a'), line('\ufb01'), line('a/b'), line('B')]);
  assert.match(text, /^(?:SHA256 \([^()]+\) = [0-9a-f]{64}\n){6}$/);
  const names = parseChecksums(text).map((one) => one.name);
  assert.deepEqual(names, ['B', 'a', 'a/b', 'b', '\ufb01', '\u{1f98a}'], 'UTF-16 would put the last two the other way round');
});

test('formatChecksums and parseChecksums are inverse for every name that is taken', () => {
  const name = fc
    .oneof(fc.string({ unit: 'grapheme', maxLength: 30 }), fc.string({ unit: 'binary', maxLength: 10 }))
    .filter(isChecksumName);
  fc.assert(
    fc.property(fc.uniqueArray(name, { minLength: 1, maxLength: 8 }), (names) => {
      const text = formatChecksums(names.map(line));
      assert.equal(formatChecksums(parseChecksums(text)), text);
      assert.deepEqual(new Set(parseChecksums(text).map((one) => one.name)), new Set(names));
      assert.equal(formatChecksums(names.toReversed().map(line)), text, 'whatever order they were given in');
    }),
    { numRuns: 1000 },
  );
});

test('isChecksumName refuses names that one of the tools reads otherwise', () => {
  for (const good of ['a', 'a b', ' a ', "it's", 'a=b', '*', 'é', 'SHA256 ', '#a', '%s', '..a', '.a', 'a/-', '\u{1f98a}', 'a'.repeat(1000)])
    assert.ok(isChecksumName(good), good);
  for (const bad of [
    ...['', '-', '-a', '.', '..', 'a/../b', './a', '/a', 'a/', 'a//b', 'a(', 'a)', 'a\\b', 'a\nb', 'a\r', 'a\tb', '\u0000', '\u007f'],
    ...['\u0085', '\u2028', '\u202e', '\u200b', '\ufeff', '\ufffd', '\ud800', 'a'.repeat(1001), 'é'.repeat(501)],
  ]) {
    assert.equal(isChecksumName(bad), false, JSON.stringify(bad));
    assert.throws(() => formatChecksums([line(bad)]), isRefused);
  }
});

test('formatChecksums refuses nothing, too much, twins and digests in other spellings', () => {
  assert.throws(() => formatChecksums([]), isRefused);
  assert.throws(() => formatChecksums([line('a'), line('b'), line('a')]), isRefused);
  assert.throws(() => formatChecksums([{ name: 'a', sha256: 'A'.repeat(64) as Sha256 }]), isRefused);
  assert.throws(() => formatChecksums([{ name: 'a', sha256: '0'.repeat(63) as Sha256 }]), isRefused);
  const many = Array.from({ length: 10_001 }, (_, index) => line(`${index}`));
  const text = formatChecksums(many.slice(1));
  assert.equal(parseChecksums(text).length, 10_000);
  assert.throws(() => formatChecksums(many), isRefused);
  assert.throws(() => parseChecksums(text + `SHA256 (z) = ${'0'.repeat(64)}\n`), isRefused);
  const long = Array.from({ length: 5000 }, (_, index) => line(`${index}${'x'.repeat(990)}`));
  assert.throws(() => formatChecksums(long), isRefused, 'over four mebibytes');
});

test('parseChecksums refuses other spellings and orders', () => {
  const good = formatChecksums([line('a'), line('b')]);
  for (const [why, text] of Object.entries({
    empty: '',
    'a newline': '\n',
    'no newline at the end': good.slice(0, -1),
    'an empty line behind': `${good}\n`,
    'an empty line before': `\n${good}`,
    'carriage returns': good.replaceAll('\n', '\r\n'),
    'another order': `${good.split('\n').slice(0, 2).toReversed().join('\n')}\n`,
    'a line twice': good.replace(/.*\n/, (one) => one + one),
    'upper-case hex': good.replace(/= .*/, (one) => one.toUpperCase()),
    'another digest': good.replace('SHA256', 'SHA512'),
    'two spaces': good.replace('= ', '=  '),
    'the form of GNU': `${'0'.repeat(64)}  a\n`,
    'a space behind': good.replace('\n', ' \n'),
  }))
    assert.throws(() => parseChecksums(text), isRefused, why);
});
