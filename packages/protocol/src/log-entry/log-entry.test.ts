import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromUtf8, toUtf8 } from '../bytes/utf8.ts';
import type { Sha256 } from '../digest/digest.ts';
import { pae } from '../dsse/envelope.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { publicKeyFromSpki } from '../key/p256.ts';
import { formatLogEntry, isSignedEntry, parseLogEntry } from './log-entry.ts';
import { parsePae, parseStatementPath, statementPath } from './statement-path.ts';

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const key = publicKeyFromSpki(new Uint8Array(pair.publicKey.export({ type: 'spki', format: 'der' })));
const message = pae('application/x', toUtf8('payload'));
const digest = createHash('sha256').update(message).digest();
const entry = { digest: digest.toString('hex') as Sha256, signature: new Uint8Array(sign('sha256', message, pair.privateKey)), key };
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
const good = fromUtf8(formatLogEntry(entry)) ?? '';

test('formatLogEntry writes the hashedrekord 0.0.2 of Rekor v2, as canonical JSON', () => {
  const expected = `{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":{"algorithm":"SHA2_256","digest":"${base64(digest)}"},"signature":{"content":"${base64(entry.signature)}","verifier":{"keyDetails":"PKIX_ECDSA_P256_SHA_256","publicKey":{"rawBytes":"${base64(key.spki)}"}}}}}}`;
  assert.equal(good, expected);
  assert.deepEqual(parseLogEntry(toUtf8(good)), entry);
});

test('isSignedEntry is whether the key in the entry signed the digest in it', () => {
  assert.ok(isSignedEntry(entry));
  const other = createHash('sha256').update('other').digest('hex') as Sha256;
  assert.equal(isSignedEntry({ ...entry, digest: other }), false);
  assert.equal(isSignedEntry({ ...entry, signature: new Uint8Array(3) }), false);
  const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'der' });
  assert.equal(isSignedEntry({ ...entry, key: publicKeyFromSpki(new Uint8Array(stranger)) }), false);
});

for (const [why, text] of Object.entries({
  nothing: '',
  'a newline behind': `${good}\n`,
  'a space before': ` ${good}`,
  'a space inside': good.replace(':', ': '),
  'a key escaped': good.replace('kind', '\\u006bind'),
  'keys in another order': good.replace('"apiVersion":"0.0.2","kind":"hashedrekord"', '"kind":"hashedrekord","apiVersion":"0.0.2"'),
  'a key twice': good.replace('{"api', '{"kind":"hashedrekord","api'),
  'an unknown key': good.replace('{"api', '{"a":1,"api'),
  'another version': good.replace('0.0.2', '0.0.1'),
  'another kind': good.replace('hashedrekord"', 'dsse"'),
  'another hash': good.replace('SHA2_256', 'SHA2_512'),
  'another kind of key': good.replace('PKIX_ECDSA_P256_SHA_256', 'PKIX_ED25519'),
  'a digest of 31 bytes': good.replace(base64(digest), base64(digest.subarray(1))),
  'a digest of 33 bytes': good.replace(base64(digest), base64(Buffer.concat([digest, Buffer.of(0)]))),
  'a digest without padding': good.replace(base64(digest), base64(digest).slice(0, -1)),
  'a digest in hex': good.replace(base64(digest), entry.digest),
  'no signature': good.replace(base64(entry.signature), ''),
  'a key of another curve': good.replace(
    base64(key.spki),
    base64(generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey.export({ type: 'spki', format: 'der' })),
  ),
  'a key that is no point': good.replace(base64(key.spki), base64(key.spki.with(90, (key.spki[90] ?? 0) ^ 1))),
  'a byte order mark': `\ufeff${good}`,
}))
  test(`parseLogEntry refuses: ${why}`, () => {
    assert.notEqual(text, good);
    assert.throws(
      () => parseLogEntry(toUtf8(text)),
      (error: unknown) => error instanceof LockstepError && error.code === 'LOG_ENTRY_INVALID',
    );
  });

test('statementPath and parseStatementPath are inverse', () => {
  const path = `statement/${entry.digest.slice(0, 2)}/${entry.digest.slice(2)}`;
  assert.equal(statementPath(entry.digest), path);
  assert.equal(parseStatementPath(path), entry.digest);
  for (const bad of [
    '',
    `/${path}`,
    `${path}\n`,
    path.slice(0, -1),
    `${path}0`,
    path.toUpperCase(),
    path.replace('statement', 'tile'),
    entry.digest,
  ])
    assert.equal(parseStatementPath(bad), null, bad);
});

test('parsePae takes apart what pae puts together, and nothing else', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 30 }), fc.uint8Array({ maxLength: 60 }), (payloadType, payload) => {
      const bytes = pae(payloadType, payload);
      assert.deepEqual(parsePae(bytes), { payloadType, payload });
      assert.equal(parsePae(Uint8Array.from([...bytes, 0])), null);
      if (payload.length > 0) assert.equal(parsePae(bytes.subarray(0, -1)), null);
    }),
    { numRuns: 1000 },
  );
  for (const bad of [
    '',
    'DSSEv1',
    'DSSEv1 ',
    'DSSEv2 0  0 ',
    'dssev1 0  0 ',
    'DSSEv1 00  0 ',
    'DSSEv1 0  00 ',
    'DSSEv1 0  0',
    'DSSEv1 0 0 ',
    'DSSEv1 1  0 ',
    'DSSEv1 +0  0 ',
    'DSSEv1 0  -0 ',
    'DSSEv1 99999  0 ',
    'DSSEv1 9999 a 0 ',
    'DSSEv1 0  1 ',
    ' DSSEv1 0  0 ',
  ])
    assert.equal(parsePae(toUtf8(bad)), null, bad);
  assert.equal(parsePae(Uint8Array.from([...toUtf8('DSSEv1 1 '), 0xff, ...toUtf8(' 0 ')])), null, 'a type that is not UTF-8');
});
