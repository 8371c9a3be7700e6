import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LockstepError } from '../error/lockstep-error.ts';
import { parseJson } from '../json/parse.ts';
import { integer, list, table } from './decode.ts';

test('list tells the first issues of millions, and no more', () => {
  const many = Array.from({ length: 2_000_000 }, () => ({}));
  const decoded = list(table({ a: integer(0, 1) }), 10_000_000)(many, []);
  assert.ok(!decoded.ok && decoded.issues.length < 50);
});

test('parseJson refuses more values than any document has, before they fill the memory', () => {
  assert.throws(
    () => parseJson(`[${'[],'.repeat(6_000_000)}[]]`),
    (error) => error instanceof LockstepError && /at most 5000000 values/.test(error.message),
  );
});
