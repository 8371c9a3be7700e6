import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519_FROST } from '@noble/curves/ed25519.js';
import { randomFrom, mutate } from '@lockstep/protocol/bytes/mutation-samples';
import { toHex } from '@lockstep/protocol/bytes/hex';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { canonicalBytes } from '@lockstep/protocol/json/canonical';
import { begin, generate } from './samples.ts';
import { decodeShare, encodeShare } from './share-file.ts';

const shares = begin(2, 3).then(generate);

test('decodeShare gives what encodeShare wrote, and writes the same again', async () => {
  for (const share of await shares) {
    const bytes = encodeShare(share);
    const read = decodeShare(bytes);
    assert.deepEqual(read.secret(), share.secret());
    assert.deepEqual({ ...read, secret: null }, { ...share, secret: null });
    assert.deepEqual(encodeShare(read), bytes);
  }
});

test('decodeShare refuses what is changed, and its error never has a byte of the share', async () => {
  const [alpha, beta] = await shares;
  const secret = toHex(alpha!.secret());
  const value = JSON.parse(Buffer.from(encodeShare(alpha!)).toString()) as { group: { confirmations: string[] } };
  const { Fn } = ed25519_FROST.utils;
  const changes: Record<string, object> = {
    'another holder': { holder: 'beta' },
    'no holder of the group': { holder: 'omega' },
    'another share': { share: toHex(beta!.secret()) },
    'share plus one': { share: toHex(Fn.toBytes(Fn.add(Fn.fromBytes(Uint8Array.from(alpha!.secret())), 1n))) },
    'a share that is upper case': { share: secret.toUpperCase() },
    'a share that is cut': { share: secret.slice(2) },
    'a share of zero': { share: '00'.repeat(32) },
    'a share that is a list': { share: [...alpha!.secret()] },
    'an unknown key that has the share': { [secret]: secret },
    'a confirmation less': { group: { ...value.group, confirmations: value.group.confirmations.slice(1) } },
    'a confirmation twice': { group: { ...value.group, confirmations: value.group.confirmations.with(0, value.group.confirmations[1]!) } },
    'another schema': { schema: secret },
  };
  for (const [what, patch] of Object.entries(changes))
    assert.throws(
      () => decodeShare(canonicalBytes({ ...value, ...patch } as never)),
      (error: unknown) => {
        assert.ok(error instanceof LockstepError && error.code === 'CUSTODY_FAILED', what);
        const told = JSON.stringify(error.toData()) + String(error.stack);
        for (let at = 0; at + 8 <= secret.length; at += 2) assert.ok(!told.includes(secret.slice(at, at + 8)), what);
        return true;
      },
      what,
    );
});

test('decodeShare of mutated bytes throws nothing but its own error', async () => {
  const examples = (await shares).map(encodeShare);
  const below = randomFrom(5);
  for (let run = 0; run < 400; run++) {
    const bytes = mutate(examples, below);
    try {
      assert.deepEqual(encodeShare(decodeShare(bytes)), bytes);
    } catch (error) {
      assert.ok(error instanceof LockstepError && error.code === 'CUSTODY_FAILED', String(error));
    }
  }
});
