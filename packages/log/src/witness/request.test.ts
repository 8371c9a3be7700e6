import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatNote } from '@lockstep/protocol/note/note';
import { mutated } from '../source/samples.ts';
import { sampleLog } from './samples.ts';
import { formatRequest, parseRequest } from './witness.ts';

const RUNS = Number(process.env['LOCKSTEP_FUZZ'] ?? 10_000);
const log = sampleLog(30);
const valid = await Promise.all(
  [
    [0, 0],
    [0, 30],
    [7, 30],
    [21, 22],
    [30, 30],
  ].map(([from = 0, to = 0]) => log.request(from, to)),
);

test('parseRequest reads what formatRequest writes', () => {
  for (const body of valid) {
    const request = parseRequest(body);
    assert.ok(typeof request !== 'string');
    assert.equal(formatRequest(request.old, request.proof, formatNote(request.note)), Buffer.from(body).toString());
  }
});

test(`parseRequest of mutated requests is a sentence or a request that says the same again (${RUNS} cases)`, () => {
  fc.assert(
    fc.property(mutated(valid), (body) => {
      const request = parseRequest(body);
      if (typeof request === 'string') return assert.ok(request.length > 0 && !request.includes('undefined'));
      assert.ok(Number.isSafeInteger(request.old) && request.old >= 0);
      assert.ok(request.proof.length <= 63 && request.proof.every((hash) => hash.length === 32));
      assert.equal(request.checkpoint.root.length, 32);
      // One spelling: nothing is read that would be written in another way.
      assert.deepEqual(Buffer.from(formatRequest(request.old, request.proof, formatNote(request.note))), Buffer.from(body));
    }),
    { numRuns: RUNS },
  );
});
