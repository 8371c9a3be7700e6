import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { buildId, definitionToJson, makeDefinition } from '../definition/definition.ts';
import { decodeDefinition } from '../definition/definition.ts';
import { manifestJson, sampleDefinition, sampleLock, sampleManifest } from '../definition/samples.ts';
import { canonicalText } from '../json/canonical.ts';
import { type Json, parseJson } from '../json/parse.ts';
import { decodeManifest, manifestToJson } from './manifest.ts';

type Table = Record<string, Json>;

/** The sample's JSON with one value replaced. */
function changed(path: readonly string[], value: Json | undefined): Json {
  const json = structuredClone(manifestToJson(sampleManifest())) as Table;
  let at: Table = json;
  for (const key of path.slice(0, -1)) at = at[key] as Table;
  if (value === undefined) delete at[path.at(-1) ?? ''];
  else at[path.at(-1) ?? ''] = value;
  return json;
}

const accepts = (path: readonly string[], value: Json): boolean => decodeManifest(changed(path, value), []).ok;

test('decodeManifest writes every default out', () => {
  const manifest = sampleManifest();
  assert.equal(manifest.tier, 'container');
  assert.equal(manifest.network, 'none');
  assert.equal(manifest.resources.memory_mb, 2048);
  assert.deepEqual(manifest.build.steps, [{ name: 'make', run: 'make' }]);
});

test('decodeManifest is idempotent, and survives canonical JSON', () => {
  fc.assert(
    fc.property(manifestJson, (json) => {
      const first = decodeManifest(json, []);
      assert.ok(first.ok, JSON.stringify(first));
      const text = canonicalText(manifestToJson(first.value));
      const second = decodeManifest(parseJson(text), []);
      assert.ok(second.ok, JSON.stringify(second));
      assert.deepEqual(second.value, first.value);
      assert.equal(canonicalText(manifestToJson(second.value)), text);
    }),
    { numRuns: 1500 },
  );
});

test('decodeManifest of any JSON throws nothing', () => {
  fc.assert(
    fc.property(fc.jsonValue({ stringUnit: 'binary' }), fc.constantFrom(...Object.keys(sampleManifest())), (value, key) => {
      decodeManifest(value as Json, []);
      const decoded = decodeManifest(changed([key], value as Json), []);
      if (decoded.ok) assert.doesNotThrow(() => canonicalText(manifestToJson(decoded.value)));
    }),
    { numRuns: 2000 },
  );
});

test('the name of a step is cut between characters', () => {
  for (let before = 55; before < 62; before++) {
    const decoded = decodeManifest(changed(['build', 'steps'], ['x'.repeat(before) + '😀'.repeat(4)]), []);
    assert.ok(decoded.ok);
    assert.ok(decoded.value.build.steps[0]?.name.isWellFormed());
    assert.doesNotThrow(() => buildId(makeDefinition(decoded.value, sampleLock())));
  }
});

test('a step whose first line has nothing to show still has a name that its definition accepts', () => {
  const decoded = decodeManifest(changed(['build', 'steps'], ['\u0001\nmake', '\u001b\u009b']), []);
  assert.ok(decoded.ok);
  assert.ok(decodeDefinition(definitionToJson(makeDefinition(decoded.value, sampleLock()))).ok);
});

test('decodeManifest refuses what would hide the environment or climb', () => {
  for (const path of [
    '/',
    '/etc/x',
    '/usr',
    '/inputs',
    '/proc/1',
    '/a/../etc',
    '/a//b',
    '/a/',
    'a',
    '//a',
    '/a\n',
    '/./usr',
    '/tmp/x',
    '/lib64',
  ])
    assert.equal(accepts(['build', 'path'], path), false, path);
  for (const path of ['/build/source', '/srv/x', '/opt/a.b']) assert.equal(accepts(['build', 'path'], path), true, path);
  assert.equal(accepts(['build', 'path'], '/home/build/source'), false, 'within the default home');
  for (const path of ['', '/a', '../a', 'a/../b', 'a//b', 'a/', 'a\nb', 'a\u009b'])
    assert.equal(accepts(['outputs'], [{ files: path }]), false, path);
});

test('decodeManifest refuses variables that have a key of their own, and what is not a variable', () => {
  for (const name of ['SOURCE_DATE_EPOCH', 'LD_PRELOAD', 'HOME', 'TZ', '1A', 'A-B', 'A=B', '', 'A\n'])
    assert.equal(accepts(['build', 'env'], { [name]: 'x' }), false, name);
  assert.equal(accepts(['build', 'env'], JSON.parse('{"__proto__":"x"}') as Json), false);
  assert.equal(accepts(['build', 'env'], { A: 'x\0y' }), false);
  assert.equal(accepts(['build', 'env'], { A: 'x\ny' }), true);
});

test('decodeManifest refuses unknown keys everywhere, and names the nearest', () => {
  for (const path of [['extra'], ['source', 'extra'], ['build', 'extra'], ['resources', 'extra'], ['environment', 'extra']])
    assert.equal(accepts(path, 1), false);
  const decoded = decodeManifest(changed(['buidl'], {}), []);
  assert.ok(!decoded.ok);
  assert.equal(decoded.issues[0]?.hint, 'Did you mean "build"?');
  assert.equal(accepts(['outputs'], [{ files: 'a', tree: 'b', name: 'c' }]), false);
});

test('decodeManifest refuses other types, other ranges and lone surrogates', () => {
  for (const [path, value] of [
    [['name'], 'a b'],
    [['name'], '-a'],
    [['version'], ''],
    [['build', 'uid'], 0],
    [['build', 'uid'], 1.5],
    [['build', 'uid'], '1000'],
    [['build', 'user'], 'root'],
    [['build', 'umask'], '888'],
    [['build', 'source_date_epoch'], -1],
    [['build', 'source_date_epoch'], 2 ** 32],
    [['build', 'steps'], []],
    [['build', 'steps'], ['  ']],
    [['build', 'steps'], ['a\0']],
    [['build', 'steps'], ['\ud800']],
    [['source', 'ref'], '--upload-pack=x'],
    [['source', 'strip'], 17],
    [['network'], 'host'],
    [['outputs'], []],
    [['environment', 'url'], 'http://host.example/r.tar'],
    [['environment', 'url'], '-x'],
    [['environment', 'kind'], 'constructor'],
    [['environment', 'kind'], 'toString'],
  ] as const)
    assert.equal(accepts(path, value as Json), false, `${path.join('.')} = ${JSON.stringify(value)}`);
});

test('decodeDefinition takes what definitionToJson writes, and the build id changes with anything in it', () => {
  const definition = sampleDefinition();
  const decoded = decodeDefinition(parseJson(canonicalText(definitionToJson(definition))));
  assert.ok(decoded.ok);
  assert.equal(buildId(decoded.value), buildId(definition));
  const other = { ...definition, lock: { ...definition.lock, resolves: 'b'.repeat(64) } };
  assert.notEqual(buildId(other), buildId(definition));
});
