import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { verifySignature } from '@lockstep/protocol/key/any-key';
import fc from 'fast-check';
import { algorithmOfParams, derOfRs, EC_PARAMS, keyOfPoint } from './pkcs11-encoding.ts';

test('algorithmOfParams knows each spelling of the two curves, and no other', () => {
  assert.equal(algorithmOfParams(Buffer.from('06032b6570', 'hex')), 'ed25519');
  assert.equal(algorithmOfParams(Buffer.concat([Buffer.from([0x13, 12]), Buffer.from('edwards25519')])), 'ed25519');
  assert.equal(algorithmOfParams(EC_PARAMS['ecdsa-p256'][0]!), 'ecdsa-p256');
  // secp384r1, X25519, nothing
  for (const other of ['06052b81040022', '06032b656e', '']) assert.equal(algorithmOfParams(Buffer.from(other, 'hex')), null);
});

test('keyOfPoint takes a point bare or in an OCTET STRING; others are null', () => {
  for (const [algorithm, pair] of [
    ['ed25519', generateKeyPairSync('ed25519')],
    ['ecdsa-p256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
  ] as const) {
    const spki = pair.publicKey.export({ type: 'spki', format: 'der' });
    const raw = spki.subarray(algorithm === 'ed25519' ? -32 : -65);
    for (const point of [raw, Buffer.concat([Buffer.from([4, raw.length]), raw])]) {
      const key = keyOfPoint(algorithm, point);
      assert.ok(key !== null);
      assert.deepEqual(Buffer.from(key.spki), spki);
    }
    for (const point of [raw.subarray(1), Buffer.alloc(65), Buffer.concat([Buffer.from([5, raw.length]), raw]), Buffer.alloc(0)])
      assert.equal(keyOfPoint(algorithm, point), null);
  }
});

test('derOfRs is the signature that OpenSSL writes as r ‖ s', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = keyOfPoint('ecdsa-p256', publicKey.export({ type: 'spki', format: 'der' }).subarray(-65));
  assert.ok(key !== null);
  // Many: r or s with leading zeros or a high bit are what such conversions get wrong.
  for (let index = 0; index < 300; index++) {
    const message = createHash('sha256').update(String(index)).digest();
    const der = derOfRs(sign('sha256', message, { key: privateKey, dsaEncoding: 'ieee-p1363' }));
    assert.ok(der !== null && verifySignature(key, message, der));
  }
});

test('what a module may answer is read or null', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 140 }), (bytes) => {
      derOfRs(bytes);
      algorithmOfParams(bytes);
      keyOfPoint('ed25519', bytes);
      keyOfPoint('ecdsa-p256', bytes);
    }),
  );
  for (const bytes of [new Uint8Array(64), new Uint8Array(64).fill(255), new Uint8Array(63).fill(1), new Uint8Array(0)])
    assert.equal(derOfRs(bytes), null);
});
