import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { toUtf8 } from '../bytes/utf8.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { type Envelope, formatEnvelope, IN_TOTO_PAYLOAD, pae, parseEnvelope } from './envelope.ts';

function tryParse(bytes: Uint8Array): Envelope | null {
  try {
    return parseEnvelope(bytes);
  } catch (error) {
    assert.ok(error instanceof LockstepError && error.code === 'ENVELOPE_INVALID', `${String(error)} is not the parser's own error`);
    return null;
  }
}

const valid = { payloadType: IN_TOTO_PAYLOAD, payload: 'e30=', signatures: [{ keyid: 'k', sig: 'AAAA' }] };
const parseJsonEnvelope = (value: unknown): Envelope | null => tryParse(toUtf8(JSON.stringify(value)));

test('pae is the encoding of the DSSE specification', () => {
  assert.equal(
    Buffer.from(pae('http://example.com/HelloWorld', toUtf8('hello world'))).toString(),
    'DSSEv1 29 http://example.com/HelloWorld 11 hello world',
  );
  assert.equal(Buffer.from(pae('', new Uint8Array())).toString(), 'DSSEv1 0  0 ');
});

test('pae counts bytes, not characters', () => {
  assert.equal(Buffer.from(pae('é', toUtf8('😀'))).toString(), 'DSSEv1 2 é 4 😀');
});

test('pae gives different pairs different bytes', () => {
  const text = fc.string({ unit: fc.constantFrom(...'1 2é'), maxLength: 5 });
  fc.assert(
    fc.property(text, text, text, text, (a, b, c, d) => {
      const same = Buffer.from(pae(a, toUtf8(b))).equals(pae(c, toUtf8(d)));
      assert.equal(same, a === c && b === d);
    }),
    { numRuns: 5000 },
  );
});

test('parseEnvelope reads the payload once and keeps its bytes; a key id may be missing', () => {
  const envelope = parseJsonEnvelope({ ...valid, signatures: [{ sig: '-_8' }] });
  assert.deepEqual(envelope, {
    payloadType: IN_TOTO_PAYLOAD,
    payload: toUtf8('{}'),
    signatures: [{ keyid: '', sig: Uint8Array.of(0xfb, 0xff) }],
  });
});

for (const [why, value] of Object.entries({
  'no signature': { ...valid, signatures: [] },
  'more signatures than bounded': { ...valid, signatures: Array.from({ length: 65 }, () => valid.signatures[0]) },
  'unknown key': { ...valid, extra: 1 },
  'unknown key in a signature': { ...valid, signatures: [{ ...valid.signatures[0], cert: 'x' }] },
  'empty payload type': { ...valid, payloadType: '' },
  'payload that is an object': { ...valid, payload: {} },
  'payload that is not base64': { ...valid, payload: '{}' },
  'signature that is not base64': { ...valid, signatures: [{ sig: '?' }] },
  'null signature': { ...valid, signatures: [null] },
  'no payload': { payloadType: valid.payloadType, signatures: valid.signatures },
  'a list': [valid],
  null: null,
})) {
  test(`parseEnvelope refuses: ${why}`, () => assert.equal(parseJsonEnvelope(value), null));
}

test('parseEnvelope refuses a key given twice, so that no other parser can read another payload', () => {
  assert.equal(tryParse(toUtf8('{"payloadType":"a","payload":"e30=","payload":"AAAA","signatures":[{"sig":"AAAA"}]}')), null);
});

test('parseEnvelope stays quick with a million unknown keys', () => {
  const keys = Array.from({ length: 1_000_000 }, (_, index) => `"payloadtypes${index}":0`).join(',');
  const start = performance.now();
  assert.equal(tryParse(toUtf8(`{${keys}}`)), null);
  assert.ok(performance.now() - start < 10_000);
});

test('formatEnvelope and parseEnvelope are inverse, and the text is one line', () => {
  const envelope = fc.record(
    {
      payloadType: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 }),
      payload: fc.uint8Array({ maxLength: 60 }),
      signatures: fc.array(
        fc.record(
          { keyid: fc.string({ unit: 'grapheme', maxLength: 20 }), sig: fc.uint8Array({ maxLength: 80 }) },
          { noNullPrototype: true },
        ),
        { minLength: 1, maxLength: 4 },
      ),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(envelope, (one) => {
      const text = formatEnvelope(one);
      assert.deepEqual(parseEnvelope(toUtf8(text)), one);
      assert.equal(formatEnvelope(parseEnvelope(toUtf8(text))), text);
      assert.equal(text.indexOf('\n'), text.length - 1);
    }),
    { numRuns: 1000 },
  );
});

test('parseEnvelope of mutated bytes throws nothing but its own error', () => {
  const bytes = toUtf8(JSON.stringify(valid));
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(255), fc.nat(3), (at, byte, cut) => {
      const changed = Uint8Array.from(bytes);
      changed[at] = byte;
      const envelope = tryParse(changed.subarray(0, changed.length - (cut === 0 ? at % 7 : 0)));
      if (envelope !== null) assert.deepEqual(parseEnvelope(toUtf8(formatEnvelope(envelope))), envelope);
    }),
    { numRuns: 5000 },
  );
});
