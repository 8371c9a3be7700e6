import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { definitionToJson, makeDefinition } from '../definition/definition.ts';
import { sampleLock } from '../definition/samples.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { canonicalText } from '../json/canonical.ts';
import { parseJson } from '../json/parse.ts';
import { decodeManifest, type Manifest, manifestToJson } from './manifest.ts';
import { parseManifest } from './toml.ts';

const GOOD = `name = "hello"
version = "1.0"

[source]
ref = "./hello"

[environment]
kind = "host"

[build]
steps = [
  "make",
  { name = "install", run = "make install" },
]

[[outputs]]
files = "hello"
`;

function tryParse(text: string): Manifest | LockstepError {
  try {
    return parseManifest(text, 'lockstep.toml');
  } catch (error) {
    assert.ok(error instanceof LockstepError && error.code.startsWith('MANIFEST_'), `${String(error)} is not the parser's own error`);
    return error;
  }
}

test('parseManifest reads TOML', () => {
  const manifest = parseManifest(GOOD, 'lockstep.toml');
  assert.equal(manifest.name, 'hello');
  assert.deepEqual(manifest.build.steps[1], { name: 'install', run: 'make install' });
});

for (const [what, from, to, code, line, column] of [
  ['a syntax error', 'kind = "host"', 'kind = host', 'MANIFEST_SYNTAX', 8, 8],
  ['a wrong value', '"./hello"', '"--upload-pack=x"', 'MANIFEST_INVALID', 5, 1],
  ['a wrong value in a list', '"make",', '"",', 'MANIFEST_INVALID', 12, 3],
  ['a wrong value in an inline table', 'run = "make install"', 'run = ""', 'MANIFEST_INVALID', 13, 23],
  ['an unknown key', 'kind = "host"', 'kind = "host"\nkin = 1', 'MANIFEST_INVALID', 9, 1],
  ['a date', '"1.0"', '1979-05-27', 'MANIFEST_INVALID', 2, 1],
  ['a duplicate key', 'version', 'name = "x"\nversion', 'MANIFEST_SYNTAX', 2, 1],
  ['nan', '"1.0"', 'nan', 'MANIFEST_INVALID', 2, 1],
  ['a date as a step', '"make",', '1979-05-27,', 'MANIFEST_INVALID', 12, 3],
  ['inf as a file', 'files = "hello"', 'files = inf', 'MANIFEST_INVALID', 17, 1],
] as const) {
  test(`parseManifest points at ${what}`, () => {
    const error = tryParse(GOOD.replace(from, to));
    assert.ok(error instanceof LockstepError);
    assert.equal(error.code, code);
    assert.equal(error.at?.file, 'lockstep.toml');
    assert.equal(error.at?.line, line);
    if (code === 'MANIFEST_INVALID') assert.equal(error.at?.column, column);
    assert.notEqual(error.hint, '');
  });
}

test('parseManifest refuses __proto__ wherever it stands', () => {
  for (const text of ['__proto__ = 1\n', '["__proto__"]\na = 1\n', '__proto__.name = "x"\n'])
    assert.ok(tryParse(text + GOOD) instanceof LockstepError);
  assert.ok(tryParse(`${GOOD}[build.env]\n__proto__ = "x"\n`) instanceof LockstepError);
  assert.equal(({} as Record<string, unknown>)['name'], undefined);
});

test('parseManifest bounds size and depth', () => {
  const large = tryParse(`# ${'x'.repeat(1 << 20)}\n${GOOD}`);
  assert.ok(large instanceof LockstepError && large.code === 'MANIFEST_TOO_LARGE');
  assert.ok(tryParse(`a = ${'['.repeat(100_000)}`) instanceof LockstepError);
  assert.ok(tryParse(`a = ${'['.repeat(5000)}${']'.repeat(5000)}\n${GOOD}`) instanceof LockstepError);
  assert.ok(tryParse(`${'a.'.repeat(50_000)}a = 1\n${GOOD}`) instanceof LockstepError);
});

test('parseManifest of mutated text throws nothing but its own error, and what it accepts makes a definition', () => {
  const insert = fc.constantFrom(
    '"',
    "'",
    '=',
    '[',
    ']',
    '{',
    '}',
    '.',
    '\n',
    '\0',
    '#',
    '\\',
    '\\u',
    '__proto__',
    '1e400',
    'inf',
    '\ud800',
    '\r',
    '"""',
    'true',
    '0x',
    '1979-05-27T00:00:00Z',
    ',',
  );
  let accepted = 0;
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(GOOD.length), fc.nat(4), insert), { minLength: 1, maxLength: 3 }), (edits) => {
      let text = GOOD;
      for (const [at, drop, added] of edits) text = text.slice(0, at) + added + text.slice(at + drop);
      const manifest = tryParse(text);
      if (manifest instanceof LockstepError) return;
      accepted++;
      const json = parseJson(canonicalText(definitionToJson(makeDefinition(manifest, sampleLock()))));
      assert.ok(json !== null);
      const again = decodeManifest(manifestToJson(manifest), []);
      assert.ok(again.ok);
      assert.deepEqual(again.value, manifest);
    }),
    { numRuns: 3000 },
  );
  assert.ok(accepted > 50, `only ${accepted} were accepted: the test shows nothing`);
});
