import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { LockstepError } from '../error/lockstep-error.ts';
import { publicKeyFromPem, publicKeyFromSpki, publicKeyToPem, verifyP256 } from './p256.ts';

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const spki = new Uint8Array(pair.publicKey.export({ type: 'spki', format: 'der' }));
const pem = pair.publicKey.export({ type: 'spki', format: 'pem' }).toString();
const isKeyInvalid = (error: unknown): boolean => error instanceof LockstepError && error.code === 'KEY_INVALID';

test('publicKeyFromPem and publicKeyToPem are inverse, and the id is the SHA-256 of the SPKI', () => {
  const key = publicKeyFromPem(pem);
  assert.equal(publicKeyToPem(key), pem);
  assert.deepEqual(publicKeyFromSpki(spki), key);
  assert.equal(key.id, createHash('sha256').update(spki).digest('hex'));
});

test('publicKeyFromSpki refuses other curves, other encodings and points that are not on the curve', () => {
  const point = spki.subarray(-65);
  const withPoint = (bytes: Uint8Array): Uint8Array => Uint8Array.from([...spki.subarray(0, -65), ...bytes]);
  const offCurve = Uint8Array.from(point);
  offCurve[64] = (offCurve[64] ?? 0) ^ 1;
  for (const [what, bytes] of Object.entries({
    empty: new Uint8Array(),
    'P-384': generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey.export({ type: 'spki', format: 'der' }),
    secp256k1: generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey.export({ type: 'spki', format: 'der' }),
    Ed25519: generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'der' }),
    'a byte too many': Uint8Array.from([...spki, 0]),
    'a byte too few': spki.subarray(0, -1),
    'bare point': point,
    'compressed point': withPoint(Uint8Array.from([2, ...point.subarray(1, 33)])),
    'hybrid point': withPoint(Uint8Array.from([6 + ((point[64] ?? 0) & 1), ...point.subarray(1)])),
    'off the curve': withPoint(offCurve),
    'point at infinity': withPoint(new Uint8Array(65)),
    'coordinates of zero': withPoint(Uint8Array.from([4, ...new Uint8Array(64)])),
  }))
    assert.throws(() => publicKeyFromSpki(bytes), isKeyInvalid, what);
});

test('publicKeyFromPem refuses private keys, certificates, two keys and junk', () => {
  const secret = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  for (const text of [
    '',
    'x',
    secret,
    pem + pem,
    pem + secret,
    `x${pem}`,
    `${pem}x`,
    pem.replaceAll('PUBLIC KEY', 'CERTIFICATE'),
    pem.replace('M', '!'),
    pem.toLowerCase(),
  ])
    assert.throws(() => publicKeyFromPem(text), isKeyInvalid, text);
  fc.assert(
    fc.property(fc.nat(pem.length - 1), fc.string({ maxLength: 2, unit: 'binary' }), (at, insert) => {
      try {
        publicKeyFromPem(pem.slice(0, at) + insert + pem.slice(at + 1));
      } catch (error) {
        assert.ok(isKeyInvalid(error), String(error));
      }
    }),
    { numRuns: 2000 },
  );
});

test('verifyP256 agrees with Node, and a changed byte of message or signature makes it false, never an exception', () => {
  const key = publicKeyFromSpki(spki);
  const message = Buffer.from('message');
  const signature = new Uint8Array(sign('sha256', message, pair.privateKey));
  assert.equal(verifyP256(key, message, signature), true);
  fc.assert(
    fc.property(fc.nat(signature.length - 1), fc.integer({ min: 1, max: 255 }), fc.uint8Array({ maxLength: 80 }), (at, change, junk) => {
      const changed = Uint8Array.from(signature);
      changed[at] = (changed[at] ?? 0) ^ change;
      assert.equal(verifyP256(key, message, changed), false);
      assert.equal(verifyP256(key, message, junk), false);
    }),
    { numRuns: 300 },
  );
  assert.equal(verifyP256(key, Buffer.from('Message'), signature), false);
  assert.equal(verifyP256(key, message, Uint8Array.from([...signature, 0])), false, 'bytes behind the signature');
});
