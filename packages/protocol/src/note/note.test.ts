import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { toUtf8 } from '../bytes/utf8.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { verifyEd25519 } from '../key/ed25519.ts';
import { formatNote, formatSignatureLine, parseNote, parseSignatureLine } from './note.ts';
import { formatVerifierKey, isKeyName, makeVerifierKey, noteKeyHash, noteKeyId, parseVerifierKey } from './verifier-key.ts';

const isCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof LockstepError && error.code === code;
const line = '— b AAAAAAA=\n';
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

test('parseVerifierKey and parseNote read the example of c2sp.org/signed-note, and its signature verifies', () => {
  const vkey = 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k';
  const text = [
    'This is an example message.',
    '',
    '— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=',
    '',
  ].join('\n');
  const key = parseVerifierKey(vkey);
  assert.equal(formatVerifierKey(key), vkey);
  assert.equal(key.type, 'ed25519');
  const note = parseNote(text);
  assert.equal(note.text, 'This is an example message.\n');
  const [signature] = note.signatures;
  assert.equal(signature?.name, key.name);
  assert.equal(signature.keyId, key.keyId);
  assert.ok(verifyEd25519(key.publicKey, toUtf8(note.text), signature.signature));
  assert.equal(verifyEd25519(key.publicKey, toUtf8('This is an example message'), signature.signature), false);
  assert.equal(formatNote(note), text);
});

test('parseNote reads the key of Go’s checksum database, and a note of C2SP with empty lines in its text', () => {
  const key = parseVerifierKey('sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8');
  assert.equal(key.name, 'sum.golang.org');
  const text = [
    'Ognuno sta solo sul cuor della terra',
    'trafitto da un raggio di sole:',
    '',
    'ed è subito sera.',
    '',
    '— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=',
    '',
  ].join('\n');
  const note = parseNote(toUtf8(text));
  assert.ok(note.text.endsWith(':\n\ned è subito sera.\n'));
  assert.equal(note.signatures[0]?.keyId, '367ba04b');
});

test('parseNote takes what stands before the last blank line for the text, whatever it looks like', () => {
  for (const text of ['a\n', '\na\n', 'a\n\nb\n', `a\n\n${line}`, `a\n\n${line}\nb\n`, '\n\n\na\n', '— b\n']) {
    const note = parseNote(`${text}\n${line}${line}`);
    assert.equal(note.text, text);
    assert.equal(note.signatures.length, 2);
  }
  assert.equal(parseNote(`a\n\n\n${line}`).text, 'a\n\n', 'the text ends with an empty line of its own');
});

test('parseNote takes 16 signatures of 5 kB, and no more than 64', () => {
  const big = formatSignatureLine({ name: 'pq.example', keyId: '01020304', signature: new Uint8Array(5000) });
  assert.equal(parseNote(`a\n\n${big.repeat(16)}`).signatures.length, 16);
  assert.equal(parseNote(`a\n\n${line.repeat(64)}`).signatures.length, 64);
  assert.throws(() => parseNote(`a\n\n${line.repeat(65)}`), isCode('NOTE_INVALID'));
});

for (const [why, text] of Object.entries({
  'nothing at all': '',
  'no signature': 'a\n\n',
  'no blank line': `a\n${line}`,
  'no text': `\n\n${line}`,
  'only a blank line before the signatures': `\n${line}`,
  'no newline at the end': `a\n\n${line.trimEnd()}`,
  'an empty line at the end': `a\n\n${line}\n`,
  'text behind the signatures': `a\n\n${line}b\n`,
  'a carriage return': `a\r\n\n${line}`,
  'a tab': `a\tb\n\n${line}`,
  'a NUL': `a\u0000\n\n${line}`,
  'an escape': `a\u001b[1m\n\n${line}`,
  'a lone surrogate': `a\ud800\n\n${line}`,
  'more than a megabyte': `${'a'.repeat(1_000_000)}\n\n${line}`,
}))
  test(`parseNote refuses: ${why}`, () => assert.throws(() => parseNote(text), isCode('NOTE_INVALID')));

test('parseNote refuses what is not UTF-8, and keeps a byte order mark', () => {
  const bytes = toUtf8(`é\n\n${line}`);
  assert.throws(() => parseNote(bytes.with(0, 0xff)), isCode('NOTE_INVALID'));
  assert.throws(() => parseNote(Uint8Array.from([0xed, 0xa0, 0x80, ...bytes])), isCode('NOTE_INVALID'), 'a surrogate in UTF-8');
  assert.throws(() => parseNote(Uint8Array.from([0xc0, 0x8a, ...bytes])), isCode('NOTE_INVALID'), 'an overlong newline');
  assert.equal(parseNote(Uint8Array.from([0xef, 0xbb, 0xbf, ...bytes])).text, '\ufeffé\n');
});

for (const [why, text] of Object.entries({
  'a hyphen': '- b AAAAAAA=',
  'an en dash': '– b AAAAAAA=',
  'two spaces': '—  b AAAAAAA=',
  'two spaces before the signature': '— b  AAAAAAA=',
  'a space behind': '— b AAAAAAA= ',
  'a space before': ' — b AAAAAAA=',
  'a fourth word': '— b AAAAAAA= c',
  'no name': '— AAAAAAA=',
  'a plus in the name': '— a+b AAAAAAA=',
  'a no-break space in the name': '— a\u00a0b AAAAAAA=',
  'an ideographic space in the name': '— a\u3000b AAAAAAA=',
  'a next-line character in the name': '— a\u0085b AAAAAAA=',
  'half a surrogate pair in the name': '— a\ud800b AAAAAAA=',
  'a name of 256 characters': `— ${'a'.repeat(256)} AAAAAAA=`,
  'no padding': '— b AAAAAAA',
  'too much padding': '— b AAAAAAA==',
  'the other alphabet': `— b ${base64(Buffer.alloc(6, 0xff)).replaceAll('/', '_')}`,
  'stray bits': '— b AAAAAAB=',
  'only a key id': '— b AAAAAA==',
  'no signature': '— b ',
  'a newline behind': '— b AAAAAAA=\n',
  'two lines': '— b AAAAAAA=\n— b AAAAAAA=',
}))
  test(`parseSignatureLine refuses: ${why}`, () => assert.throws(() => parseSignatureLine(text), isCode('NOTE_INVALID')));

test('parseSignatureLine takes any name without spaces and pluses, and the shortest signature', () => {
  assert.deepEqual(parseSignatureLine('— b AAAAAAA='), { name: 'b', keyId: '00000000', signature: new Uint8Array(1) });
  for (const name of ['a', 'é', '🦊', 'example.com/é', '—', '=', 'a'.repeat(255)]) {
    assert.ok(isKeyName(name));
    assert.equal(parseSignatureLine(`— ${name} AAAAAAA=`).name, name);
  }
});

test('formatNote and parseNote are inverse', () => {
  const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).filter(isKeyName);
  const signature = fc.record(
    {
      name,
      keyId: fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => Buffer.from(bytes).toString('hex')),
      signature: fc.uint8Array({ minLength: 1, maxLength: 100 }),
    },
    { noNullPrototype: true },
  );
  const text = fc
    .array(fc.string({ unit: 'grapheme', maxLength: 20 }), { minLength: 1, maxLength: 6 })
    .map((lines) => `${lines.join('\n')}\n`)
    .filter((one) => !/[\u0000-\u0009\u000b-\u001f]/.test(one) && one.isWellFormed());
  fc.assert(
    fc.property(text, fc.array(signature, { minLength: 1, maxLength: 5 }), (body, signatures) => {
      const note = { text: body, signatures };
      const written = formatNote(note);
      if (body === '\n') return assert.throws(() => parseNote(written), isCode('NOTE_INVALID'));
      assert.deepEqual(parseNote(written), note);
      assert.deepEqual(parseNote(toUtf8(written)), note);
    }),
    { numRuns: 2000 },
  );
});

test('noteKeyId is SHA-256 of name, newline, type and key, its first four bytes', () => {
  const der = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'der' });
  const publicKey = new Uint8Array(der.subarray(-32));
  for (const [type, number, key] of [
    ['ed25519', 1, publicKey],
    ['cosignature-ed25519', 4, publicKey],
    ['cosignature-ml-dsa-44', 6, new Uint8Array(1312).fill(7)],
  ] as const) {
    const hash = createHash('sha256').update('é.example').update('\n').update(Uint8Array.of(number)).update(key).digest();
    assert.deepEqual(Buffer.from(noteKeyHash('é.example', type, key)), hash);
    assert.equal(noteKeyId('é.example', type, key), hash.toString('hex', 0, 4));
    const made = makeVerifierKey('é.example', type, key);
    assert.deepEqual(parseVerifierKey(formatVerifierKey(made)), made);
  }
});

test('parseVerifierKey refuses all but one spelling of a key', () => {
  const good = 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k';
  const encoded = good.split('+')[2]!;
  const bytes = Buffer.from(encoded, 'base64');
  const make = (name: string, body: Uint8Array): string => {
    const id = createHash('sha256').update(`${name}\n`).update(body).digest('hex').slice(0, 8);
    return `${name}+${id}+${base64(body)}`;
  };
  assert.equal(make('example.com/foo', bytes), good);
  assert.match(make('a', new Uint8Array(1313).fill(6)), /=$/);
  assert.ok(parseVerifierKey(make('a', new Uint8Array(1313).fill(6))), 'any 1312 bytes are a key of ML-DSA-44');
  for (const [why, text] of Object.entries({
    empty: '',
    'a newline behind': `${good}\n`,
    'a space before': ` ${good}`,
    'upper-case hex': good.replace('530d903a', '530D903A'),
    'another key id': good.replace('530d903a', '530d903b'),
    'another name': good.replace('foo', 'fop'),
    'a key id of seven digits': good.replace('530d903a', '530d903'),
    'no name': make('', bytes),
    'a plus in the name': make('a+b', bytes),
    'a space in the name': make('a b', bytes),
    'a newline in the name': make('a\nb', bytes),
    'a name of 256 characters': make('a'.repeat(256), bytes),
    'the other alphabet': good.replace(encoded, encoded.replaceAll('/', '_').replaceAll('+', '-').replace('A', '-')),
    'a byte too many': make('a', Uint8Array.from([...bytes, 0])),
    'a byte too few': make('a', bytes.subarray(0, -1)),
    'no key': make('a', bytes.subarray(0, 1)),
    nothing: 'a+00000000+',
    'ECDSA (type 2)': make('a', Uint8Array.from([2, ...bytes.subarray(1)])),
    'RFC 6962 (type 5)': make('a', Uint8Array.from([5, ...bytes.subarray(1)])),
    'type 0': make('a', Uint8Array.from([0, ...bytes.subarray(1)])),
    'ML-DSA with an Ed25519 key': make('a', Uint8Array.from([6, ...bytes.subarray(1)])),
    'Ed25519 with an ML-DSA key': make('a', new Uint8Array(1313).fill(1)),
    padding: `${good}=`,
    'missing padding': make('a', new Uint8Array(1313).fill(6)).replace(/=$/, ''),
    'a private key': `PRIVATE+KEY+${good}`,
  }))
    assert.throws(() => parseVerifierKey(text), isCode('KEY_INVALID'), why);
});

test('makeVerifierKey refuses a name or a key that no file could hold', () => {
  assert.throws(() => makeVerifierKey('a b', 'ed25519', new Uint8Array(32)), TypeError);
  assert.throws(() => makeVerifierKey('', 'ed25519', new Uint8Array(32)), TypeError);
  assert.throws(() => makeVerifierKey('a', 'ed25519', new Uint8Array(31)), TypeError);
  assert.throws(() => makeVerifierKey('a', 'cosignature-ml-dsa-44', new Uint8Array(32)), TypeError);
});

test('parseNote takes every name that isKeyName takes, or a stranger’s line rejects the note', () => {
  const name = 'a\ufeffb';
  assert.ok(isKeyName(name), 'U+FEFF has not the property White_Space');
  assert.equal(parseNote(`a\n\n${line}${line.replace('b', name)}`).signatures[1]?.name, name);
});
