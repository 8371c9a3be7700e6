import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toUtf8 } from '../bytes/utf8.ts';
import { integer, oneOf, table, text } from '../decode/decode.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { type DocumentKind, formatDocument, readDocument } from './document.ts';

interface Sample {
  readonly schema: 'sample/1';
  readonly count: number;
  readonly name: string;
}

const KIND: DocumentKind<Sample> = {
  payloadType: 'application/vnd.lockstep.sample+json',
  noun: 'sample',
  decode: table({ schema: oneOf(['sample/1'] as const), count: integer(0, 9), name: text('a name', (value) => value !== '') }),
};
const value: Sample = { schema: 'sample/1', name: 'é"\u0001', count: 3 };
const good = '{"count":3,"name":"é\\"\\u0001","schema":"sample/1"}';

test('formatDocument writes canonical JSON, and readDocument reads it', () => {
  assert.equal(Buffer.from(formatDocument(KIND, value)).toString(), good);
  assert.deepEqual(readDocument(KIND, KIND.payloadType, toUtf8(good)), value);
});

test('formatDocument refuses a value that readDocument would refuse', () => {
  assert.throws(() => formatDocument(KIND, { ...value, count: 10 }), TypeError);
  assert.throws(() => formatDocument(KIND, { ...value, count: Number.NaN }), TypeError);
  assert.throws(() => formatDocument(KIND, { ...value, name: '\ud800' }), TypeError);
  assert.throws(() => formatDocument(KIND, { ...value, more: 1 } as Sample), TypeError);
});

test('readDocument passes over a document of another kind without looking into it', () => {
  for (const type of ['', 'application/json', `${KIND.payloadType} `, KIND.payloadType.toUpperCase()])
    assert.equal(readDocument(KIND, type, toUtf8('{')), null, type);
});

for (const [why, written] of Object.entries({
  nothing: '',
  'a newline behind': `${good}\n`,
  'a space inside': good.replace(':', ': '),
  'keys in another order': '{"name":"é\\"\\u0001","count":3,"schema":"sample/1"}',
  'a key twice': good.replace('{', '{"count":3,'),
  'an unknown key': good.replace('{', '{"a":1,'),
  'a missing key': '{"name":"a","schema":"sample/1"}',
  'a number spelled another way': good.replace('3', '3.0'),
  'a character spelled another way': good.replace('é', '\\u00e9'),
  'a value out of bounds': good.replace('3', '10'),
  'another schema': good.replace('sample/1', 'sample/2'),
  'a list': `[${good}]`,
  'a byte order mark': `\ufeff${good}`,
}))
  test(`readDocument refuses: ${why}`, () =>
    assert.throws(
      () => readDocument(KIND, KIND.payloadType, toUtf8(written)),
      (error: unknown) => error instanceof LockstepError && error.code === 'DOCUMENT_INVALID' && error.message.startsWith('Not a sample: '),
    ));
