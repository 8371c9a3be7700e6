import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { harmless, harmlessLines } from './harmless.ts';

test('harmless shows escape sequences instead of obeying them', () => {
  assert.equal(harmless('\u001b[2J\u001b]0;x\u0007'), '␛[2J␛]0;x␇');
  assert.equal(harmless('a\u009b31m'), 'a\\u{9b}31m');
  assert.equal(harmless('a\u202eb\u2066c'), 'a\\u{202e}b\\u{2066}c');
  assert.equal(harmless('\0\b\u007f'), '␀␈␡');
  assert.equal(harmless('plain\ttext\nünï 😀'), 'plain\ttext\nünï 😀');
});

test('harmless leaves no control character and no text direction, and changes nothing twice', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const shown = harmless(text);
      assert.doesNotMatch(shown, /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/u);
      assert.equal(harmless(shown), shown);
    }),
    { numRuns: 3000 },
  );
});

test('harmlessLines shows what a terminal would have shown last', () => {
  assert.deepEqual(harmlessLines(Buffer.from('10 %\r50 %\rdone\nnext\r\n')), ['done', 'next', '']);
  assert.deepEqual(harmlessLines(Buffer.from([0x61, 0xff, 0x0a])), ['a\ufffd', '']);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      for (const line of harmlessLines(Buffer.from(bytes))) assert.doesNotMatch(line, /[\u0000-\u0008\n-\u001f\u007f-\u009f]/u);
    }),
    { numRuns: 1000 },
  );
});
