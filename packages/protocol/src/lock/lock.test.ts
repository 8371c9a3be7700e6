import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { toUtf8 } from '../bytes/utf8.ts';
import { lock as anyLock, sampleLock, sampleManifest } from '../definition/samples.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { formatLock, type Lock, parseLock, requireFresh, resolvesDigest } from './lock.ts';

function tryParse(bytes: Uint8Array): Lock | LockstepError {
  try {
    return parseLock(bytes, 'lockstep.lock');
  } catch (error) {
    assert.ok(
      error instanceof LockstepError && ['LOCK_INVALID', 'JSON_INVALID'].includes(error.code),
      `${String(error)} is not the parser's own error`,
    );
    return error;
  }
}

test('formatLock and parseLock are inverse, and the text is stable', () => {
  fc.assert(
    fc.property(anyLock, (lock) => {
      const text = formatLock(lock);
      const parsed = tryParse(toUtf8(text));
      assert.deepEqual(parsed, lock);
      assert.equal(formatLock(parsed as Lock), text);
      assert.ok(text.endsWith('\n'));
    }),
    { numRuns: 1000 },
  );
});

test('formatLock gives each file and package a line of its own', () => {
  const lock = sampleLock();
  const text = formatLock({ ...lock, inputs: [...lock.inputs, ...lock.inputs.map((one) => ({ ...one, to: 'y' }))] });
  assert.equal(text.split('\n').filter((line) => line.includes('https://host.example/x')).length, 2);
});

test('parseLock names file, line and column of what is wrong', () => {
  const text = formatLock(sampleLock()).replace('"date": 1700000000', '"date": -1');
  const error = tryParse(toUtf8(text));
  assert.ok(error instanceof LockstepError);
  const line = text.split('\n').findIndex((one) => one.includes('"date": -1'));
  assert.equal(error.at?.line, line + 1);
  assert.equal(error.at?.column, (text.split('\n')[line]?.indexOf('-1') ?? 0) + 1);
});

test('parseLock refuses paths that climb, and unknown keys', () => {
  const lock = sampleLock();
  for (const to of ['..', '../x', 'a/../b', '/a', 'a//b', 'a/', '', 'a\nb']) {
    const bad = { ...lock, inputs: lock.inputs.map((one) => ({ ...one, to })) };
    assert.ok(tryParse(toUtf8(JSON.stringify(bad))) instanceof LockstepError, to);
  }
  for (const path of ['..', '.', 'a/./b', '/a', 'a/../../b', ''])
    assert.ok(tryParse(toUtf8(JSON.stringify({ ...lock, links: [{ path, target: 'x' }] }))) instanceof LockstepError, path);
  assert.ok(tryParse(toUtf8(JSON.stringify({ ...lock, extra: 1 }))) instanceof LockstepError);
});

test('parseLock tells of a lock with a hundred thousand mistakes with its own error', () => {
  const error = tryParse(toUtf8(JSON.stringify({ ...sampleLock(), inputs: Array.from({ length: 100_000 }, () => ({})) })));
  assert.ok(error instanceof LockstepError && error.code === 'LOCK_INVALID');
  assert.ok(error.hint.length < 10_000);
});

test('parseLock of mutated bytes throws nothing but its own errors', () => {
  const bytes = toUtf8(formatLock(sampleLock()));
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, byte) => {
      const changed = Uint8Array.from(bytes);
      changed[at] = byte;
      const parsed = tryParse(changed);
      if (!(parsed instanceof LockstepError)) assert.deepEqual(tryParse(toUtf8(formatLock(parsed))), parsed);
    }),
    { numRuns: 3000 },
  );
});

test('requireFresh: the steps may change without a new lock, source, environment, inputs and date may not', () => {
  const manifest = sampleManifest();
  const lock = { ...sampleLock(), resolves: resolvesDigest(manifest) };
  requireFresh(lock, manifest, 'f');
  requireFresh(lock, { ...manifest, version: '2', build: { ...manifest.build, steps: [] } }, 'f');
  const stale = (error: unknown): boolean => error instanceof LockstepError && error.code === 'LOCK_STALE';
  for (const other of [
    { ...manifest, source: { ...manifest.source, strip: 2 } },
    { ...manifest, environment: { kind: 'host' as const } },
    { ...manifest, inputs: [{ cargo_lock: 'a', to: 'b' }] },
    { ...manifest, build: { ...manifest.build, source_date_epoch: 1 } },
  ])
    assert.throws(() => requireFresh(lock, other, 'f'), stale);
});
