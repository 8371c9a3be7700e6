import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { LockstepError } from '../error/lockstep-error.ts';
import {
  formatSignify,
  formatSignifyEmbedded,
  formatSignifyKey,
  MAX_SIGNIFY_MESSAGE,
  parseSignify,
  parseSignifyEmbedded,
  parseSignifyKey,
  signifyKeyNumber,
  verifySignify,
} from './signify.ts';

const isCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof LockstepError && error.code === code;

const pair = generateKeyPairSync('ed25519');
const publicKey = new Uint8Array(pair.publicKey.export({ type: 'spki', format: 'der' }).subarray(-32));
const key = { keyNumber: signifyKeyNumber(publicKey), publicKey };
const message = new Uint8Array(Buffer.from('SHA256 (a) = 00\n'));
const sig = {
  comment: 'verify with release.pub',
  keyNumber: key.keyNumber,
  signature: new Uint8Array(sign(null, message, pair.privateKey)),
};

/** By signify-openbsd, over "hi\n"; the secret key is gone. */
const THEIR_KEY = 'untrusted comment: signify public key\nRWTquQ4ST17evoilPQdFEdCEbKk3nDDyIrx1U7T04jsa61XR/ELlYC88\n';
const THEIR_FILE =
  'untrusted comment: verify with s.pub\n' +
  'RWTquQ4ST17evnHBovIKMCt0WPnCzNJnxdW5V4uaaNHIYBQilrffSLH/z0hnbfNmdlmOyZeKssqm5JcYHspyyCrSRw8IkX4GHQ0=\n';

test('parseSignify, parseSignifyKey and verifySignify take what signify made, and write it the same way', () => {
  const theirs = parseSignifyKey(THEIR_KEY);
  const parsed = parseSignify(THEIR_FILE);
  assert.equal(formatSignifyKey(theirs, 'signify public key'), THEIR_KEY);
  assert.equal(formatSignify(parsed), THEIR_FILE);
  assert.equal(verifySignify(parsed, theirs.publicKey, Buffer.from('hi\n'), theirs.keyNumber), true);
  assert.equal(verifySignify(parsed, theirs.publicKey, Buffer.from('hi'), theirs.keyNumber), false);
  assert.equal(verifySignify(parsed, theirs.publicKey, Buffer.from('hi\n')), false, 'the key number is not the one of our keys');
});

test('parseSignifyEmbedded splits what formatSignifyEmbedded joined, whatever the message is', () => {
  for (const body of [message, new Uint8Array(), Buffer.from('\n\n'), Buffer.from([0xff, 0, 10]), Buffer.from(THEIR_FILE)]) {
    const read = parseSignifyEmbedded(formatSignifyEmbedded(sig, body));
    assert.deepEqual(read.sig, sig);
    assert.deepEqual(Buffer.from(read.message), Buffer.from(body));
  }
  const { sig: again, message: signedText } = parseSignifyEmbedded(formatSignifyEmbedded(sig, message));
  assert.equal(verifySignify(again, publicKey, signedText), true);
  const large = new Uint8Array(MAX_SIGNIFY_MESSAGE);
  assert.equal(parseSignifyEmbedded(formatSignifyEmbedded(sig, large)).message.length, MAX_SIGNIFY_MESSAGE);
  assert.throws(() => formatSignifyEmbedded(sig, new Uint8Array(MAX_SIGNIFY_MESSAGE + 1)), isCode('ENVELOPE_INVALID'));
  const tooLong = Buffer.concat([formatSignifyEmbedded(sig, large), Buffer.from('x')]);
  assert.throws(() => parseSignifyEmbedded(tooLong), isCode('ENVELOPE_INVALID'));
});

test('parseSignify and parseSignifyKey refuse other spellings, and one for the other', () => {
  const good = formatSignify(sig);
  for (const [why, text] of Object.entries({
    empty: '',
    'no newline at the end': good.slice(0, -1),
    'the message behind it': `${good}x`,
    'a newline too many': `${good}\n`,
    'carriage returns': good.replaceAll('\n', '\r\n'),
    'no comment': good.split('\n').slice(1).join('\n'),
    'a control character': good.replace('verify', '\u0007'),
    'another algorithm': good.replace('\nRW', '\nRU'),
    'a key': formatSignifyKey(key, 'c'),
    'a long comment': good.replace('verify', 'x'.repeat(1100)),
  })) {
    assert.throws(() => parseSignify(text), isCode('ENVELOPE_INVALID'), why);
    if (why !== 'the message behind it' && why !== 'a newline too many')
      assert.throws(() => parseSignifyEmbedded(Buffer.from(text)), isCode('ENVELOPE_INVALID'), why);
  }
  assert.throws(() => parseSignifyEmbedded(Buffer.from([0xff, 10, 10])), isCode('ENVELOPE_INVALID'));
  assert.throws(() => parseSignifyKey(good), isCode('KEY_INVALID'), 'a signature');
  assert.throws(() => parseSignifyKey(formatSignifyKey(key, 'c').slice(0, -1)), isCode('KEY_INVALID'));
});

test('formatSignify and formatSignifyKey refuse comments of two lines and bytes of other lengths', () => {
  assert.throws(() => formatSignify({ ...sig, comment: 'a\nb' }), isCode('ENVELOPE_INVALID'));
  assert.throws(() => formatSignify({ ...sig, keyNumber: new Uint8Array(9) }), isCode('ENVELOPE_INVALID'));
  assert.throws(() => formatSignify({ ...sig, signature: new Uint8Array(63) }), isCode('ENVELOPE_INVALID'));
  assert.throws(() => formatSignifyKey(key, 'a\nb'), isCode('KEY_INVALID'));
  assert.throws(() => formatSignifyKey({ ...key, publicKey: new Uint8Array(31) }, 'a'), isCode('KEY_INVALID'));
  assert.throws(() => formatSignifyKey({ ...key, keyNumber: new Uint8Array(7) }, 'a'), isCode('KEY_INVALID'));
});
