import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { mutated } from '../source/samples.ts';
import { sampleLog } from '../witness/samples.ts';
import { formatState, parseState } from './sequenced-state.ts';

const RUNS = Number(process.env['LOCKSTEP_FUZZ'] ?? 10_000);
const log = sampleLog(9);
const staged = 'a1'.repeat(32) as Sha256;
const cell = formatState(log.noteAt(9), staged);

test('parseState reads what formatState writes, and the key of another log does not', () => {
  const state = parseState(cell, log.key);
  assert.deepEqual([state.checkpoint.size, state.staged, state.note], [9, staged, log.noteAt(9)]);
  assert.throws(() => parseState(cell, sampleLog(0).key), { code: 'LOG_CORRUPT' });
  assert.throws(() => parseState(cell, sampleLog(0, 'another.example').key), { code: 'LOG_CORRUPT' });
});

test(`parseState of mutated cells is LOG_CORRUPT, or the very checkpoint that was signed (${RUNS} cases)`, () => {
  const valid = [cell, formatState(log.noteAt(1), staged), formatState(log.noteAt(0), staged)].map((text) => Buffer.from(text));
  const signed = new Set([9, 1, 0].map((size) => log.noteAt(size)));
  fc.assert(
    fc.property(mutated(valid), (bytes) => {
      // As the store reads it.
      const text = Buffer.from(bytes).toString('utf8');
      try {
        const state = parseState(text, log.key);
        assert.ok(signed.has(state.note));
        assert.equal(formatState(state.note, state.staged), text);
      } catch (error) {
        assert.ok(error instanceof LockstepError && error.code === 'LOG_CORRUPT', String(error));
      }
    }),
    { numRuns: RUNS },
  );
});
