import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { LockstepError } from '../error/lockstep-error.ts';
import { parseMinisignKey } from '../signature/minisign-key.ts';
import { type AnyKey, anyKeyFromSpki, ed25519Key, rawEd25519 } from './any-key.ts';
import { fingerprints } from './fingerprint.ts';
import { proquints } from './fingerprint-words.ts';

const anyKey = (publicKey: { export(options: { type: 'spki'; format: 'der' }): Uint8Array }): AnyKey =>
  anyKeyFromSpki(new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })));

test('proquints has the words of the proposal, and as many different ones as pairs of bytes', () => {
  for (const [address, words] of [
    ['127.0.0.1', 'lusab-babad'],
    ['63.84.220.193', 'gutih-tugad'],
    ['63.118.7.35', 'gutuk-bisog'],
    ['140.98.193.141', 'mudof-sakat'],
    ['64.255.6.200', 'haguz-biram'],
    ['128.30.52.45', 'mabiv-gibot'],
  ] as const)
    assert.equal(proquints(Uint8Array.from(address.split('.').map(Number))), words);
  const all = new Set(Array.from({ length: 65_536 }, (_, bits) => proquints(Uint8Array.of(bits >> 8, bits & 255))));
  assert.equal(all.size, 65_536);
  for (const word of all) assert.match(word, /^[bdfghjklmnprstvz][aiou][bdfghjklmnprstvz][aiou][bdfghjklmnprstvz]$/);
  assert.throws(() => proquints(new Uint8Array(3)), TypeError);
});

test('fingerprints of an Ed25519 key: the forms agree with one that ssh-keygen showed', () => {
  const raw = new Uint8Array(Buffer.from('AAAAC3NzaC1lZDI1NTE5AAAAILQUK+Y5AzXZkty1LeOKOTT/fYkgUTCEG8BOXl46N/k9', 'base64').subarray(-32));
  const key = ed25519Key(raw);
  const found = fingerprints(key, 'me@example');
  assert.equal(found.hex, createHash('sha256').update(key.spki).digest('hex'));
  assert.equal(found.hex, key.id);
  assert.equal(found.words, proquints(Buffer.from(key.id.slice(0, 32), 'hex')));
  assert.equal(found.words.split('-').length, 8);
  assert.equal(found.ssh, 'SHA256:MBsfnrBXJ2PzpDbf3Bzx3u5Mss3r/OssZUGR8NTAYME');
  assert.equal(found.sshLine, 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILQUK+Y5AzXZkty1LeOKOTT/fYkgUTCEG8BOXl46N/k9 me@example');
  assert.deepEqual(parseMinisignKey(found.minisign!).publicKey, rawEd25519(key));
});

test('fingerprints of other algorithms have no form that does not know them', () => {
  const p256 = fingerprints(anyKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey), '');
  assert.equal(p256.minisign, null);
  assert.match(p256.ssh!, /^SHA256:[A-Za-z0-9+/]{43}$/);
  assert.match(p256.sshLine!, /^ecdsa-sha2-nistp256 [A-Za-z0-9+/=]+$/);
  const rsa = fingerprints(anyKey(generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey), 'x');
  assert.deepEqual([rsa.minisign, rsa.ssh, rsa.sshLine], [null, null, null]);
  assert.match(rsa.hex, /^[0-9a-f]{64}$/);
});

test('fingerprints refuses a name that would end its line, and takes or refuses every other', () => {
  const key = ed25519Key(new Uint8Array(32));
  assert.throws(
    () => fingerprints(key, 'a\nssh-ed25519 x'),
    (error) => error instanceof LockstepError && error.code === 'KEY_INVALID',
  );
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (name) => {
      try {
        assert.equal(fingerprints(key, name).sshLine?.split('\n').length, 1);
      } catch (error) {
        assert.ok(error instanceof LockstepError && error.code === 'KEY_INVALID', String(error));
      }
    }),
  );
});
