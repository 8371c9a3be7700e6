/** Who signs what, as a table: a key for one use is refused for every other. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateKeyPairSync } from 'node:crypto';
import { type AnyKey, anyKeyFromSpki } from '@lockstep/protocol/key/any-key';
import { type Algorithm, ALGORITHMS, KEY_USES, type KeyUse, mayUse } from '@lockstep/protocol/key/key-use';
import { requireUse } from './signing-key.ts';

const USES = Object.keys(KEY_USES) as KeyUse[];
const der = (key: ReturnType<typeof generateKeyPairSync>['publicKey']): AnyKey =>
  anyKeyFromSpki(new Uint8Array(key.export({ type: 'spki', format: 'der' })));
const KEYS: Readonly<Record<Algorithm, AnyKey>> = {
  ed25519: der(generateKeyPairSync('ed25519').publicKey),
  'ecdsa-p256': der(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey),
  'rsa-2048': der(generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey),
};

test('requireUse takes a key for its own use and refuses it for each of the others, N x N', () => {
  let refused = 0;
  for (const use of USES)
    for (const wanted of USES)
      for (const algorithm of KEY_USES[use]) {
        const key = { name: 'k', use, public: KEYS[algorithm] };
        if (use === wanted) requireUse(key, wanted);
        else {
          assert.throws(() => requireUse(key, wanted), {
            code: 'KEY_INVALID',
            message: new RegExp(`is for ${use}, and was asked for ${wanted}`),
          });
          refused++;
        }
      }
  assert.ok(refused >= USES.length * (USES.length - 1));
});

test('requireUse refuses a key of an algorithm that its use cannot have', () => {
  for (const use of USES)
    for (const algorithm of ALGORITHMS) {
      const key = { name: 'k', use, public: KEYS[algorithm] };
      if (mayUse(use, algorithm)) requireUse(key, use);
      else assert.throws(() => requireUse(key, use), { code: 'KEY_INVALID', message: /cannot be signed with that/ });
    }
});
