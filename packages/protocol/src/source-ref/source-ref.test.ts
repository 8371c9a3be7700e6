import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatSourceRef, isMoving, isProblem, parseSourceRef, sourceRefWarnings } from './source-ref.ts';

const read = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../../../testdata/source-ref/${name}.json`, import.meta.url), 'utf8'));

for (const { text, kind, moving } of read('accepted') as { text: string; kind: string; moving: boolean }[]) {
  test(`parseSourceRef takes ${text}`, () => {
    const parsed = parseSourceRef(text);
    assert.ok(!isProblem(parsed), JSON.stringify(parsed));
    assert.equal(parsed.kind, kind);
    assert.equal(isMoving(parsed), moving);
    assert.equal(formatSourceRef(parsed), text);
  });
}

for (const { why, text } of read('rejected') as { why: string; text: string }[]) {
  test(`parseSourceRef refuses: ${why}`, () => {
    const parsed = parseSourceRef(text);
    assert.ok(isProblem(parsed), `${JSON.stringify(text)} was taken for ${JSON.stringify(parsed)}`);
    assert.notEqual(parsed.expected, '');
    assert.notEqual(parsed.hint, '');
  });
}

test('parseSourceRef bounds length', () => {
  assert.ok(!isProblem(parseSourceRef(`./${'a'.repeat(2046)}`)));
  assert.ok(isProblem(parseSourceRef(`./${'a'.repeat(2047)}`)));
});

test('parseSourceRef never throws, and what it accepts formats to something that means the same', () => {
  const token = fc.constantFrom(
    ...[
      'git+',
      'GIT+',
      'https',
      'ssh',
      'file',
      'ext',
      'pkg:npm/',
      'pkg:deb/debian/',
      '://',
      '::',
      ':',
      '/',
      '//',
      '#',
      'refs/',
      'tags/',
      'heads/',
      '..',
      '.',
      '-',
    ],
    ...[
      '--upload-pack=',
      '@',
      '@{',
      '^',
      '~',
      '.lock',
      'host.example',
      'a',
      'v1',
      '1.0.0',
      '%',
      '%2e',
      '?',
      '\r',
      '\n',
      '\0',
      ' ',
      '\ud800',
      'é',
      "'",
      '`',
      '$(',
    ],
    '0123456789abcdef0123456789abcdef01234567',
  );
  const free = fc.array(token, { maxLength: 12 });
  const git = fc
    .tuple(fc.constantFrom('git+https://', 'git+ssh://', 'git+file://'), free, free)
    .map(([head, path, ref]) => [head, ...path, '/a#refs/', ...ref]);
  let accepted = 0;
  fc.assert(
    fc.property(fc.oneof(free, git), (tokens) => {
      const text = tokens.join('');
      const parsed = parseSourceRef(text);
      if (isProblem(parsed)) return;
      accepted++;
      assert.ok(!/[\0-\x20\x7f]/.test(text));
      assert.ok(!text.startsWith('-'));
      const again = parseSourceRef(formatSourceRef(parsed));
      assert.deepEqual(again, parsed);
      if (parsed.kind !== 'git') return;
      assert.equal(formatSourceRef(parsed), text);
      // Some hosts pass here that a URL parser refuses, such as 1.2.3.4.5; they fetch nothing.
      if (!URL.canParse(parsed.url)) return;
      const url = new URL(parsed.url);
      assert.equal(url.password, '');
      if (parsed.transport !== 'ssh') assert.equal(url.username, '');
      assert.ok(!url.hostname.startsWith('-') && !parsed.ref.startsWith('-') && !parsed.ref.includes('..'));
    }),
    { numRuns: 20_000 },
  );
  assert.ok(accepted > 200, `only ${accepted} were accepted: the test shows nothing`);
});

test('parseSourceRef accepts no ref that git check-ref-format refuses', () => {
  const part = fc.string({ unit: fc.constantFrom(...'av1.-/@{}~^:?*[\\_+é'), maxLength: 8 });
  const refs = fc
    .sample(part, { numRuns: 3000, seed: 7 })
    .map((tail) => `refs/tags/${tail}`)
    .filter((ref) => !isProblem(parseSourceRef(`git+https://host.example/a#${ref}`)));
  assert.ok(refs.length > 100);
  // One process checks many: the shell only passes each on.
  const run = spawnSync(
    'sh',
    ['-c', 'for ref; do git check-ref-format "$ref" || printf "%s\\n" "$ref"; done', 'sh', ...refs.slice(0, 250)],
    { encoding: 'utf8' },
  );
  assert.equal(run.stdout, '', 'accepted here and refused by git');
  assert.equal(run.error, undefined);
});

test('sourceRefWarnings speak of what nobody else can resolve or what moves', () => {
  const warn = (text: string, annotatedTag: boolean | null = null): number => {
    const parsed = parseSourceRef(text);
    assert.ok(!isProblem(parsed));
    return sourceRefWarnings(parsed, { annotatedTag }).length;
  };
  assert.equal(warn('git+https://host.example/a#refs/tags/v1', true), 0);
  assert.equal(warn('git+https://host.example/a#refs/tags/v1', false), 1);
  assert.equal(warn('git+https://host.example/a#refs/heads/main'), 1);
  assert.equal(warn('git+ssh://host.example/a#refs/heads/main'), 2);
  assert.equal(warn('git+file:///a/b#0123456789abcdef0123456789abcdef01234567'), 2);
  assert.equal(warn('.'), 1);
  assert.equal(warn('https://host.example/a.tar.gz'), 0);
});
