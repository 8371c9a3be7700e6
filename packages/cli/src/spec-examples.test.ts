/** The first example of a specification page is complete and valid; the examples belong together. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { buildId, decodeDefinition, type Definition, makeDefinition } from '@lockstep/protocol/definition/definition';
import { canonicalText } from '@lockstep/protocol/json/canonical';
import { type Json, parseJson } from '@lockstep/protocol/json/parse';
import { type Lock, parseLock, requireFresh } from '@lockstep/protocol/lock/lock';
import type { Manifest } from '@lockstep/protocol/manifest/manifest';
import { parseManifest } from '@lockstep/protocol/manifest/toml';
import { dependenciesOf } from '@lockstep/protocol/provenance/dependencies';
import { decodeStatement } from '@lockstep/protocol/statement/statement';

function page(name: string): string {
  return readFileSync(`${import.meta.dirname}/../../../spec/${name}`, 'utf8');
}

/** The text of the first fenced block in `language`. */
function example(name: string, language: 'toml' | 'json'): string {
  const found = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(page(name))?.[1];
  assert.ok(found !== undefined, `spec/${name} has no example in ${language}; begin the page with one`);
  return found;
}

const manifest = (): Manifest => parseManifest(example('manifest.md', 'toml'), 'spec/manifest.md');
const lock = (): Lock => parseLock(Buffer.from(example('lock.md', 'json')), 'spec/lock.md');

function definition(): Definition {
  const decoded = decodeDefinition(parseJson(example('definition.md', 'json'), 'spec/definition.md'));
  assert.ok(decoded.ok, JSON.stringify(decoded));
  return decoded.value;
}

const canonical = (value: unknown): string => canonicalText(JSON.parse(JSON.stringify(value)) as Json);

test('spec/manifest.md begins with a valid manifest', () => {
  assert.equal(manifest().name, 'hello');
});

test('spec/lock.md begins with a valid lock of the example manifest', () => {
  requireFresh(lock(), manifest(), 'spec/lock.md');
});

test('spec/definition.md begins with the definition of manifest and lock, and names its build id', () => {
  assert.equal(canonical(definition()), canonical(makeDefinition(manifest(), lock())));
  assert.ok(page('definition.md').includes(`\`${buildId(definition())}\``), `The build id is ${buildId(definition())}`);
});

test('spec/provenance.md begins with a valid statement about the example definition', () => {
  const decoded = decodeStatement(parseJson(example('provenance.md', 'json'), 'spec/provenance.md'));
  assert.ok(decoded.ok, JSON.stringify(decoded));
  const stated = decoded.value.predicate.buildDefinition;
  assert.equal(canonical(stated.externalParameters.definition), canonical(definition()));
  assert.equal(stated.internalParameters.build_id, buildId(definition()));
  assert.equal(canonical(stated.resolvedDependencies), canonical(dependenciesOf(definition())));
});

test('every page begins with an example', () => {
  for (const name of [
    'manifest.md',
    'lock.md',
    'definition.md',
    'scratch.md',
    'provenance.md',
    'errors.md',
    'policy.md',
    'commitment.md',
    'log.md',
  ])
    assert.match(page(name), /^# .+\n\n```(?:toml|json|text)\n/, `spec/${name}: put an example right below the title`);
});

test('spec/scratch.md lists exactly the system calls that the silo allows', () => {
  const source = readFileSync(`${import.meta.dirname}/../../silo/src/plan/seccomp.ts`, 'utf8');
  const allowed = /const ALLOWED = `([^`]*)`/.exec(source)?.[1]?.trim().split(/\s+/);
  const listed = /System calls[\s\S]*?\n\n((?: {4}[a-z0-9_ ]+\n)+)/.exec(page('scratch.md'))?.[1]?.trim().split(/\s+/);
  assert.ok(allowed !== undefined && allowed.length > 200);
  assert.deepEqual(listed, allowed);
});
