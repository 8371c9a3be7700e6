import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { digestBytes } from '../digest/digest.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import { lock as anyLock, manifestJson, sampleDefinition } from '../definition/samples.ts';
import { makeDefinition } from '../definition/definition.ts';
import { canonicalText } from '../json/canonical.ts';
import { type Json, parseJson } from '../json/parse.ts';
import { decodeManifest } from '../manifest/manifest.ts';
import { statementOfBuild } from '../provenance/statement-of-build.ts';
import { spdxOf } from '../sbom/spdx.ts';
import { decodeStatement, type Statement } from './statement.ts';

const facts = {
  farmId: 'example-build-1',
  outputs: [{ name: 'hello', digest: digestBytes(toUtf8('hello')) }],
  sandbox: { runtime: 'runc 1', cgroup: 'v2', kernel: '6.1', silo: '0.1.0' },
  environmentSha256: 'e'.repeat(64),
  variation: null,
  byproducts: [{ name: 'transcript', sha256: '0'.repeat(64), size: 1 }],
  builderVersion: '0.1.0',
  invocationId: '1',
  startedOn: 1_700_000_000.9,
  finishedOn: 1_700_000_100,
};

const sample = (): Json => JSON.parse(JSON.stringify(statementOfBuild({ ...facts, definition: sampleDefinition() }))) as Json;

/** Every place in a JSON value. */
function places(value: Json, path: (string | number)[] = []): (string | number)[][] {
  if (typeof value !== 'object' || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, one]) => places(one as Json, [...path, Array.isArray(value) ? Number(key) : key]))];
}

function replaced(value: Json, path: readonly (string | number)[], by: Json): Json {
  const [first, ...rest] = path;
  if (first === undefined) return by;
  const copy = structuredClone(value) as Record<string | number, Json>;
  copy[first] = replaced(copy[first] as Json, rest, by);
  return copy as Json;
}

test('statementOfBuild makes what decodeStatement takes, for any definition', () => {
  fc.assert(
    fc.property(manifestJson, anyLock, (json, lock) => {
      const manifest = decodeManifest(json, []);
      assert.ok(manifest.ok, JSON.stringify(manifest));
      const definition = makeDefinition(manifest.value, lock);
      const statement = statementOfBuild({ ...facts, definition });
      const text = canonicalText(JSON.parse(JSON.stringify(statement)) as Json);
      const decoded = decodeStatement(parseJson(text));
      // A build on the host with nothing to list is the one that has no dependencies; every lock has a source.
      assert.ok(decoded.ok, JSON.stringify(decoded));
      assert.deepEqual(decoded.value, JSON.parse(text));
      const sbom = spdxOf(definition);
      assert.equal(canonicalText(spdxOf(definition)), canonicalText(parseJson(canonicalText(sbom))));
    }),
    { numRuns: 1000 },
  );
});

test('decodeStatement refuses an unknown key at every level', () => {
  const statement = sample();
  const tables = places(statement).filter((path) => !path.includes('definition') && !path.includes('ambient'));
  let checked = 0;
  for (const path of tables) {
    const at = path.reduce<Json>((value, key) => (value as Record<string | number, Json>)[key] as Json, statement);
    if (typeof at !== 'object' || at === null || Array.isArray(at)) continue;
    checked++;
    assert.equal(decodeStatement(replaced(statement, [...path, 'un known'], 1)).ok, false, path.join('.'));
  }
  assert.ok(checked > 12);
});

test('decodeStatement with any one value of another kind throws nothing', () => {
  const statement = sample();
  const all = places(statement).filter((path) => path.length > 0);
  fc.assert(
    fc.property(fc.constantFrom(...all), fc.jsonValue({ stringUnit: 'binary' }), (path, value) => {
      decodeStatement(replaced(statement, path, value as Json));
    }),
    { numRuns: 1000 },
  );
});

test('decodeStatement takes a time only if it is one', () => {
  const path = ['predicate', 'runDetails', 'metadata', 'startedOn'];
  const takes = (time: string): boolean => decodeStatement(replaced(sample(), path, time)).ok;
  for (const time of ['2026-01-31T12:00:00Z', '2024-02-29T23:59:59Z', '1970-01-01T00:00:00Z']) assert.equal(takes(time), true, time);
  for (const time of [
    '2026-02-30T00:00:00Z',
    '2023-02-29T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-01-01T24:00:00Z',
    '2026-01-01T00:00:60Z',
    '2026-01-01 00:00:00Z',
    '2026-01-01T00:00:00+00:00',
    '2026-01-01T00:00:00.5Z',
    '2026-01-01T00:00:00Z\n',
    'now',
  ])
    assert.equal(takes(time), false, time);
});

test('statementOfBuild writes times to the second, and the pinning as the lock has it', () => {
  const statement: Statement = statementOfBuild({ ...facts, definition: sampleDefinition() });
  assert.equal(statement.predicate.runDetails.metadata.startedOn, '2023-11-14T22:13:20Z');
  assert.deepEqual(statement.predicate.buildDefinition.internalParameters.environment, {
    kind: 'rootfs',
    pinned: 'yes',
    sha256: 'e'.repeat(64),
  });
});
