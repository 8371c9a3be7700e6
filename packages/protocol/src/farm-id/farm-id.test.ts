import assert from 'node:assert/strict';
import { test } from 'node:test';
import { farmIdWarnings, isFarmId } from './farm-id.ts';

test('isFarmId takes the form only', () => {
  for (const id of ['example-build-1', 'example-build-amd64', 'a', '1', 'a.b-c', 'x'.repeat(64)]) assert.equal(isFarmId(id), true, id);
  for (const id of ['', 'A', '-a', 'a-', 'a--b', 'a..b', 'a.-b', 'a_b', 'a b', 'a\n', 'ä', 'a/b', '../a', 'x'.repeat(65)])
    assert.equal(isFarmId(id), false, id);
});

test('farmIdWarnings is silent on the two forms that are asked for, and speaks of what changes per build', () => {
  for (const id of ['example-build-1', 'example-build-amd64', 'example-build-12', 'org.example-riscv64'])
    assert.deepEqual(farmIdWarnings(id), [], id);
  for (const id of ['example-20260131', 'example-2026-01-1', 'example-deadbeef12-1', 'example-run-12345', 'build.local', 'example'])
    assert.notDeepEqual(farmIdWarnings(id), [], id);
});
