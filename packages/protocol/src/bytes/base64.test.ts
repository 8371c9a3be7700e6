import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromBase64, toBase64 } from './base64.ts';
import { toUtf8 } from './utf8.ts';

const RUNS = { numRuns: 1000 };
const rejected = JSON.parse(readFileSync(new URL('../../../../testdata/base64/rejected.json', import.meta.url), 'utf8')) as string[];

test('toBase64 and fromBase64 agree with the vectors of RFC 4648 section 10', () => {
  const vectors = { '': '', f: 'Zg==', fo: 'Zm8=', foo: 'Zm9v', foob: 'Zm9vYg==', fooba: 'Zm9vYmE=', foobar: 'Zm9vYmFy' };
  for (const [plain, encoded] of Object.entries(vectors)) {
    assert.equal(toBase64(toUtf8(plain)), encoded);
    assert.deepEqual(fromBase64(encoded), toUtf8(plain));
  }
});

test('fromBase64 reads both alphabets, and none that mixes them', () => {
  const bytes = Uint8Array.from([0xfb, 0xff, 0xbf, 0xfb]);
  assert.deepEqual(fromBase64('+/+/+w=='), bytes);
  assert.deepEqual(fromBase64('-_-_-w'), bytes);
  assert.equal(fromBase64('+_+_+w=='), null);
});

for (const text of rejected) {
  test(`fromBase64 refuses ${JSON.stringify(text)}`, () => assert.equal(fromBase64(text), null));
}

test('base64 of any bytes is what Node writes, and reads back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const text = toBase64(bytes);
      assert.equal(text, Buffer.from(bytes).toString('base64'));
      assert.deepEqual(fromBase64(text), bytes);
      assert.deepEqual(fromBase64(Buffer.from(bytes).toString('base64url')), bytes);
    }),
    RUNS,
  );
});

test('fromBase64 takes only text that is the encoding of what it returns', () => {
  const character = fc.constantFrom(...'AQgwZz09+/-_= \n');
  fc.assert(
    fc.property(fc.array(character, { maxLength: 12 }), (characters) => {
      const text = characters.join('');
      const bytes = fromBase64(text);
      if (bytes === null) return;
      const standard = text.replaceAll('-', '+').replaceAll('_', '/').replace(/=+$/, '');
      assert.equal(standard, toBase64(bytes).replace(/=+$/, ''));
    }),
    { numRuns: 20_000 },
  );
});
