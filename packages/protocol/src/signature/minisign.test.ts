import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { LockstepError } from '../error/lockstep-error.ts';
import { MAX_UNTRUSTED_COMMENT } from './comment.ts';
import { formatMinisignKey, minisignKeyId, minisignKeyLine, parseMinisignKey } from './minisign-key.ts';
import {
  formatMinisig,
  MAX_TRUSTED_COMMENT,
  minisignGlobalMessage,
  minisignMessage,
  minisignSteps,
  parseMinisig,
  verifyMinisig,
} from './minisign.ts';

const isCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof LockstepError && error.code === code;
const blake2b = (bytes: string): Uint8Array => new Uint8Array(createHash('blake2b512').update(bytes).digest());

const pair = generateKeyPairSync('ed25519');
const publicKey = new Uint8Array(pair.publicKey.export({ type: 'spki', format: 'der' }).subarray(-32));
const signed = (message: Uint8Array): Uint8Array => new Uint8Array(sign(null, message, pair.privateKey));

/** By minisign 0.11, over "hi\n"; the secret key is gone. */
const THEIR_KEY = 'untrusted comment: minisign public key 47A0829375A9BDE5\nRWTlval1k4KgRzRtDtXBU8m2mL2NN0E8yhCsAyBwnDZi+KHF0Zm5ORPg\n';
const THEIR_FILE =
  'untrusted comment: signature from minisign secret key\n' +
  'RUTlval1k4KgR6o96fqpooTJoFODrNkb7W0Fgd+OnT85TAuXn+2+biSuJQSrl0np2uXTH4xi8iREZNij6oVkO+hne9wO6kbeWAc=\n' +
  'trusted comment: timestamp:1795291844\tfile:f\thashed\n' +
  'icB1junCvogIDAUvxAHtCftNp1X+drOYVeL73gtgxw7ztg8z1AA85PL6lK9AyX8fKOxFT8KOU5anpdTCZGZzDg==\n';

function made(over = 'content', trustedComment = 'lockstep hello 1.0', untrustedComment = 'release'): string {
  const steps = minisignSteps({ keyId: minisignKeyId(publicKey), blake2b512: blake2b(over), trustedComment, untrustedComment });
  const first = signed(steps.message);
  return steps.file(first, signed(steps.globalMessage(first)));
}

test('parseMinisig, parseMinisignKey and verifyMinisig take what minisign made, and write it the same way', () => {
  const key = parseMinisignKey(THEIR_KEY);
  const sig = parseMinisig(THEIR_FILE);
  assert.equal(formatMinisignKey(key.keyId, key.publicKey), THEIR_KEY);
  assert.deepEqual(parseMinisignKey(minisignKeyLine(key.keyId, key.publicKey)), key);
  assert.equal(formatMinisig(sig), THEIR_FILE);
  assert.equal(verifyMinisig(sig, key.publicKey, blake2b('hi\n'), key.keyId), true);
  assert.equal(verifyMinisig(sig, key.publicKey, blake2b('hi'), key.keyId), false, 'another file');
  assert.equal(verifyMinisig(sig, key.publicKey, blake2b('hi\n')), false, 'the key id is not the one of our keys');
  assert.equal(verifyMinisig({ ...sig, trustedComment: 'x' }, key.publicKey, blake2b('hi\n'), key.keyId), false, 'another trusted comment');
});

test('minisignSteps signs the digest, then the signature with the trusted comment', () => {
  const steps = minisignSteps({
    keyId: minisignKeyId(publicKey),
    blake2b512: blake2b('content'),
    trustedComment: 'é\tthis',
    untrustedComment: '',
  });
  assert.deepEqual(steps.message, blake2b('content'));
  const first = signed(steps.message);
  assert.deepEqual(Buffer.from(steps.globalMessage(first)), Buffer.concat([first, Buffer.from('é\tthis')]));
  assert.deepEqual(steps.globalMessage(first), minisignGlobalMessage(first, 'é\tthis'));
  const sig = parseMinisig(steps.file(first, signed(steps.globalMessage(first))));
  assert.equal(verifyMinisig(sig, publicKey, blake2b('content')), true);
});

test('minisignSteps refuses before anything is signed', () => {
  const good = { keyId: new Uint8Array(8), blake2b512: new Uint8Array(64), trustedComment: 'a', untrustedComment: 'b' };
  minisignSteps({ ...good, trustedComment: 'a'.repeat(MAX_TRUSTED_COMMENT), untrustedComment: 'b'.repeat(MAX_UNTRUSTED_COMMENT) });
  for (const [why, bad] of Object.entries({
    'a short key id': { ...good, keyId: new Uint8Array(7) },
    'a digest of 32 bytes': { ...good, blake2b512: new Uint8Array(32) },
    'an empty trusted comment': { ...good, trustedComment: '' },
    'two lines': { ...good, trustedComment: 'a\nb' },
    'a carriage return': { ...good, trustedComment: 'a\r' },
    'an escape': { ...good, untrustedComment: '\u001b[2J' },
    'a C1 control': { ...good, untrustedComment: '\u009b' },
    'right-to-left override': { ...good, trustedComment: 'a\u202eb' },
    'half a surrogate pair': { ...good, trustedComment: '\ud800' },
    'a long trusted comment': { ...good, trustedComment: 'a'.repeat(MAX_TRUSTED_COMMENT + 1) },
    'one long in UTF-8': { ...good, trustedComment: 'é'.repeat(MAX_TRUSTED_COMMENT / 2 + 1) },
    'a long comment': { ...good, untrustedComment: 'a'.repeat(MAX_UNTRUSTED_COMMENT + 1) },
  }))
    assert.throws(() => minisignSteps(bad), isCode('ENVELOPE_INVALID'), why);
  assert.throws(() => minisignMessage(new Uint8Array(63)), isCode('ENVELOPE_INVALID'));
  assert.throws(() => minisignGlobalMessage(new Uint8Array(63), 'a'), isCode('ENVELOPE_INVALID'));
});

test('parseMinisig refuses other spellings, legacy signatures and lines too many or too few', () => {
  const good = made();
  const lines = good.split('\n');
  const legacy = Buffer.from(lines[1]!, 'base64');
  legacy[1] = 'd'.charCodeAt(0);
  for (const [why, text] of Object.entries({
    empty: '',
    'no newline at the end': good.slice(0, -1),
    'a newline too many': `${good}\n`,
    'carriage returns': good.replaceAll('\n', '\r\n'),
    'a space behind the base64': good.replace(lines[1]!, `${lines[1]} `),
    'base64 for URLs': good.replace(lines[3]!, `${lines[3]!.slice(0, 5)}_${lines[3]!.slice(6)}`),
    'no padding': good.replace('==\n', '\n'),
    'the legacy algorithm': good.replace(lines[1]!, legacy.toString('base64')),
    'no trusted comment': lines.toSpliced(2, 2).join('\n'),
    'another word': good.replace('trusted comment: lockstep', 'Trusted comment: lockstep'),
    'a byte order mark': `\ufeff${good}`,
    'a long file': good.replace('release', 'x'.repeat(20_000)),
  }))
    assert.throws(() => parseMinisig(text), isCode('ENVELOPE_INVALID'), why);
});

test('parseMinisignKey refuses secret keys, other algorithms and junk', () => {
  const good = formatMinisignKey(minisignKeyId(publicKey), publicKey);
  const line = good.split('\n')[1]!;
  for (const [why, text] of Object.entries({
    empty: '',
    'a newline too few': good.slice(0, -1),
    'a line and a newline': `${line}\n`,
    prehashed: `RU${line.slice(2)}`,
    'a signature': made(),
    'a short key': line.slice(0, -4),
    'a long one': `${line}AAAA`,
    'a space': ` ${line}`,
    'two keys': `${good}${line}\n`,
  }))
    assert.throws(() => parseMinisignKey(text), isCode('KEY_INVALID'), why);
  assert.throws(() => minisignKeyLine(new Uint8Array(7), publicKey), isCode('KEY_INVALID'));
  assert.throws(() => minisignKeyLine(new Uint8Array(8), new Uint8Array(33)), isCode('KEY_INVALID'));
});

test('verifyMinisig is false for every changed bit of what is signed, and for malformed values', () => {
  const sig = parseMinisig(made());
  const flipped = (bytes: Uint8Array, at: number): Uint8Array => bytes.with(at, bytes[at]! ^ 1);
  for (let at = 0; at < 64; at++) {
    assert.equal(verifyMinisig({ ...sig, signature: flipped(sig.signature, at) }, publicKey, blake2b('content')), false);
    assert.equal(verifyMinisig({ ...sig, globalSignature: flipped(sig.globalSignature, at) }, publicKey, blake2b('content')), false);
    assert.equal(verifyMinisig(sig, publicKey, flipped(blake2b('content'), at)), false);
  }
  for (let at = 0; at < 8; at++)
    assert.equal(verifyMinisig({ ...sig, keyId: flipped(sig.keyId, at) }, publicKey, blake2b('content')), false);
  assert.equal(verifyMinisig(sig, new Uint8Array(31), blake2b('content')), false);
  assert.equal(verifyMinisig(sig, publicKey, new Uint8Array()), false);
  assert.equal(verifyMinisig({ ...sig, trustedComment: '\ud800' }, publicKey, blake2b('content')), false);
});
