/** Each use of a key has an algorithm that it may have, and no word of another place passes for a use. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateKeyPairSync } from 'node:crypto';
import { edKey, p256Key } from '../signing/samples.ts';
import { anyKeyFromPem, anyKeyFromSpki, anyKeyToPem, rawEd25519, verifySignature } from './any-key.ts';
import { ALGORITHMS, isKeyUse, KEY_USES, type KeyUse, mayUse } from './key-use.ts';

test('mayUse allows an algorithm for the uses that list it, and for no other', () => {
  for (const use of Object.keys(KEY_USES) as KeyUse[])
    for (const algorithm of ALGORITHMS)
      assert.equal(mayUse(use, algorithm), (KEY_USES[use] as readonly string[]).includes(algorithm), `${use} ${algorithm}`);
  assert.equal(mayUse('attestation', 'ed25519'), false);
  assert.equal(mayUse('log', 'ecdsa-p256'), false);
  assert.equal(mayUse('nix-cache', 'ecdsa-p256'), false);
  assert.equal(mayUse('secure-boot', 'ed25519'), false);
  assert.equal(mayUse('release-dsse', 'rsa-2048'), false);
});

test('isKeyUse takes what is listed, and nothing that every object has', () => {
  for (const use of Object.keys(KEY_USES)) assert.ok(isKeyUse(use));
  for (const text of ['', 'release', 'toString', '__proto__', 'constructor', 'LOG', 'log ']) assert.equal(isKeyUse(text), false, text);
});

test('anyKeyFromPem reads what node makes, of each algorithm, and anyKeyToPem writes it the same way', () => {
  const made = [
    ['ed25519', generateKeyPairSync('ed25519').publicKey],
    ['ecdsa-p256', generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey],
    ['rsa-2048', generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey],
  ] as const;
  for (const [algorithm, publicKey] of made) {
    const pem = publicKey.export({ type: 'spki', format: 'pem' }) as string;
    const key = anyKeyFromPem(pem);
    assert.equal(key.algorithm, algorithm);
    assert.equal(anyKeyToPem(key), pem);
    assert.deepEqual(anyKeyFromSpki(key.spki), key);
    if (algorithm !== 'ed25519') assert.throws(() => rawEd25519(key), TypeError);
  }
  const others = [
    generateKeyPairSync('ed448').publicKey,
    generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey,
    generateKeyPairSync('rsa', { modulusLength: 3072 }).publicKey,
    generateKeyPairSync('x25519').publicKey,
  ];
  for (const other of others)
    assert.throws(() => anyKeyFromPem(other.export({ type: 'spki', format: 'pem' }) as string), { code: 'KEY_INVALID' });
});

test('verifySignature takes a key’s own signature, and none of another key, algorithm or message', () => {
  const message = new Uint8Array([1, 2, 3]);
  const keys = [edKey(1), edKey(2), p256Key(1), p256Key(2)];
  for (const signer of keys)
    for (const other of keys) {
      const signature = signer.sign(message);
      assert.equal(verifySignature(other.key, message, signature), signer === other);
      assert.equal(verifySignature(other.key, message.slice(1), signature), false);
      assert.equal(verifySignature(other.key, message, signature.slice(1)), false);
      assert.equal(verifySignature(other.key, message, new Uint8Array(0)), false);
    }
  const rsa = anyKeyFromSpki(
    new Uint8Array(generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ type: 'spki', format: 'der' })),
  );
  assert.equal(verifySignature(rsa, message, keys[0]!.sign(message)), false);
});
