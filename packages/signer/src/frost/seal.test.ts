import assert from 'node:assert/strict';
import { createDecipheriv, generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { x25519 } from '@noble/curves/ed25519.js';
import { hkdf } from '@noble/hashes/hkdf.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { fromHex } from '@lockstep/protocol/bytes/hex';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { sha256Hex } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { random, sha256Of } from './samples.ts';
import { boxPublicKey, boxSecretKey, openSealed, seal, type Sealed } from './seal.ts';

const context = { ceremony: sha256Hex(toUtf8('a ceremony')), from: 'alpha', to: 'beta' };
const { privateKey } = generateKeyPairSync('x25519');
const secret = sha256Of('secret');
const sealed = seal(secret, boxPublicKey(privateKey), context, random);
const flip = (hex: string, at: number): string =>
  Buffer.from(Buffer.from(hex, 'hex').map((byte, index) => (index === at ? byte ^ 1 : byte))).toString('hex');

test('openSealed gives what was sealed, to the holder of the key in the same context only', () => {
  assert.deepEqual(openSealed(sealed, privateKey, context), secret);
  assert.equal(openSealed(sealed, generateKeyPairSync('x25519').privateKey, context), null);
  for (const other of [{ ceremony: sha256Hex(toUtf8('another')) }, { from: 'gamma' }, { to: 'gamma' }, { from: 'beta', to: 'alpha' }])
    assert.equal(openSealed(sealed, privateKey, { ...context, ...other }), null);
});

test('openSealed refuses any changed byte, and what is cut', () => {
  for (let at = 0; at < sealed.box.length / 2; at++)
    assert.equal(openSealed({ ...sealed, box: flip(sealed.box, at) }, privateKey, context), null);
  for (let at = 0; at < 32; at++) assert.equal(openSealed({ ...sealed, ephemeral: flip(sealed.ephemeral, at) }, privateKey, context), null);
  for (let length = 0; length < sealed.box.length; length += 2)
    assert.equal(openSealed({ ...sealed, box: sealed.box.slice(0, length) }, privateKey, context), null);
});

/** RFC 7748: with these the shared secret is zero, whatever the other key is. */
const SMALL_ORDER = ['00'.repeat(32), `01${'00'.repeat(31)}`, 'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800'];

test('seal and openSealed refuse keys of small order', () => {
  for (const hex of SMALL_ORDER) {
    assert.equal(openSealed({ ...sealed, ephemeral: hex }, privateKey, context), null);
    assert.throws(
      () => seal(secret, fromHex(hex, 32)!, context, random),
      (error: unknown) => error instanceof LockstepError && error.code === 'CEREMONY_FAILED' && /beta/.test(error.message),
    );
  }
});

test('seal is what spec/frost.md says, computed by noble', () => {
  const own = sha256Of('box');
  const one: Sealed = seal(secret, x25519.getPublicKey(own), context, random);
  assert.deepEqual(boxPublicKey(boxSecretKey(own)), x25519.getPublicKey(own));
  const ephemeral = fromHex(one.ephemeral, 32)!;
  const info = toUtf8(`{"ceremony":"${context.ceremony}","from":"alpha","schema":"lockstep-frost-sealed/v1","to":"beta"}`);
  const keys = hkdf(sha256, x25519.getSharedSecret(own, ephemeral), Uint8Array.from([...ephemeral, ...x25519.getPublicKey(own)]), info, 44);
  const box = Buffer.from(one.box, 'hex');
  const decipher = createDecipheriv('chacha20-poly1305', keys.subarray(0, 32), keys.subarray(32), { authTagLength: 16 });
  decipher.setAAD(info, { plaintextLength: 32 });
  decipher.setAuthTag(box.subarray(32));
  assert.deepEqual(new Uint8Array(Buffer.concat([decipher.update(box.subarray(0, 32)), decipher.final()])), secret);
});
