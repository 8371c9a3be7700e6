import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromHex, toHex } from './hex.ts';

test('fromHex refuses capitals, other lengths and what parseInt would take', () => {
  for (const text of ['', 'a', 'AA', 'aaa', '0x', ' a', 'a ', '-1', '1.', '+1', 'ａ1', 'a\n'])
    assert.equal(fromHex(text, 1), null, JSON.stringify(text));
  assert.deepEqual(fromHex('', 0), new Uint8Array());
  assert.deepEqual(fromHex('ff', 1), Uint8Array.of(255));
  assert.equal(fromHex('ff\n', 1), null);
});

test('hex of any bytes is what Node writes, and reads back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const text = toHex(bytes);
      assert.equal(text, Buffer.from(bytes).toString('hex'));
      assert.deepEqual(fromHex(text, bytes.length), bytes);
      assert.equal(fromHex(text, bytes.length + 1), null);
    }),
    { numRuns: 1000 },
  );
});

test('fromHex takes only text that is the encoding of what it returns', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 4, unit: fc.constantFrom(...'09afAFgx -+.') }), (text) => {
      const bytes = fromHex(text, 2);
      if (bytes !== null) assert.equal(toHex(bytes), text);
    }),
    { numRuns: 5000 },
  );
});
