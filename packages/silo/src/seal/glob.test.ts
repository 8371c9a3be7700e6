import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { matchesGlob } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { fixedPrefix, globMatcher } from './glob.ts';

for (const [glob, yes, no] of [
  ['a.txt', ['a.txt'], ['aXtxt', 'b/a.txt', 'a.txt2', 'a.tx']],
  ['*.deb', ['.deb', 'x.deb'], ['x/y.deb', 'x.debx']],
  ['a/*', ['a/b', 'a/'], ['a/b/c', 'a']],
  ['**/x', ['x', 'a/x', 'a/b/x'], ['ax', 'a/xb']],
  ['a/**', ['a/b', 'a/b/c'], ['a', 'b/a/c']],
  ['a/**/b', ['a/b', 'a/x/b', 'a/x/y/b'], ['ab', 'a/xb']],
  ['?', ['a', '😀'], ['', 'ab', '/']],
  ['[abc]', ['a', 'c'], ['d', '', 'ab']],
  ['[a-c]x', ['ax', 'cx'], ['dx', '-x']],
  ['[!a-c]', ['d', '!'], ['a', '/', '']],
  ['[]a]', [']', 'a'], ['b']],
  ['[!]a]', ['b'], [']', 'a']],
  ['[+-9]', ['+', '0', '9'], ['/']],
  ['[z-a]', [], ['z', 'a', 'm', '-']],
  ['[a-]', ['a', '-'], ['b']],
  ['[\\d]', ['\\', 'd'], ['1']],
  ['[^a]', ['^', 'a'], ['b']],
  ['a[', ['a['], ['a']],
  ['a]', ['a]'], ['a']],
  ['a+(b)|{c}$^.', ['a+(b)|{c}$^.'], ['ab']],
] as const) {
  test(`globMatcher ${glob}`, () => {
    for (const name of yes) assert.ok(globMatcher(glob).test(name), name);
    for (const name of no) assert.ok(!globMatcher(glob).test(name), name);
  });
}

test('globMatcher takes any text, and text without wildcards matches itself only', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: fc.constantFrom(...'[]!-^\\*?/az&~'), maxLength: 12 }), (text, wild) => {
      globMatcher(wild);
      globMatcher(wild + text);
      if (/[*?[]/.test(text)) return;
      assert.ok(globMatcher(text).test(text));
      assert.ok(!globMatcher(text).test(`${text}x`));
    }),
    { numRuns: 3000 },
  );
});

test('globMatcher agrees with another implementation where there are only * and ?', () => {
  const glob = fc
    .string({ unit: fc.constantFrom(...'ab*?.'), minLength: 1, maxLength: 8 })
    .filter((text) => !text.includes('**') && !text.startsWith('.') && !/^[*?]/.test(text));
  const name = fc.string({ unit: fc.constantFrom(...'ab.c'), minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(glob, name, (pattern, text) =>
      assert.equal(globMatcher(pattern).test(text), matchesGlob(text, pattern), `${pattern} on ${text}`),
    ),
    { numRuns: 3000 },
  );
});

test('globMatcher agrees with the shell on classes', () => {
  const sample = fc.sample(
    fc.tuple(fc.string({ unit: fc.constantFrom(...'ab]!-'), maxLength: 5 }), fc.constantFrom('a', 'b', ']', '-', '!')),
    { numRuns: 400, seed: 3 },
  );
  // The shell reads a class that is not closed as text, and so does this; an empty class is such a one.
  const cases = sample.map(([body, text]) => ({ glob: `[${body}]`, text }));
  const script = 'while [ $# -gt 0 ]; do case "$2" in $1) printf y;; *) printf n;; esac; shift 2; done';
  const run = spawnSync('bash', ['-c', script, 'bash', ...cases.flatMap(({ glob, text }) => [glob, text])], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], LC_ALL: 'C' },
  });
  const ours = cases.map(({ glob, text }) => (globMatcher(glob).test(text) ? 'y' : 'n')).join('');
  const differing = cases.filter((_, position) => ours[position] !== run.stdout[position]);
  assert.deepEqual(differing, []);
});

test('fixedPrefix is the part before the first wildcard, without the last component', () => {
  for (const [glob, prefix] of [
    ['a', ''],
    ['a/b', 'a'],
    ['a/b/*.c', 'a/b'],
    ['*/b', ''],
    ['a/[b]/c', 'a'],
    ['a?/b', ''],
    ['a/**', 'a'],
  ] as const)
    assert.equal(fixedPrefix(glob), prefix, glob);
});
