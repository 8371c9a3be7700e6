import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519, ed25519_FROST } from '@noble/curves/ed25519.js';
import { parseEnvelope } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { rawEd25519 } from '@lockstep/protocol/key/any-key';
import { DEAL } from './ceremony-documents.ts';
import { acceptDeal, deal } from './dealer.ts';
import { dkgRound1 } from './dkg.ts';
import { begin, dealt, makeNode, messagesOf, random, sha256Of } from './samples.ts';
import { type Sealed, seal } from './seal.ts';
import { say } from './signed-message.ts';
import { finishCeremony } from './unconfirmed.ts';

const failed =
  (match: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof LockstepError && error.code === 'CEREMONY_FAILED', String(error));
    assert.match(error.message, match);
    return true;
  };
const party = begin(2, 3, { mode: 'dealer' });

test('deal splits an existing Ed25519 secret: the group’s key is its public key', async () => {
  for (let run = 0; run < 4; run++) {
    const seed = random(32);
    const before = Uint8Array.from(seed);
    const existing = ed25519.getPublicKey(seed);
    const shares = await dealt(await begin(2, 2, { mode: 'dealer', existing }), seed);
    assert.deepEqual(rawEd25519(shares[0]!.group.publicKey), existing);
    assert.deepEqual(seed, before, 'the seed is the caller’s to forget');
  }
});

test('deal refuses another secret than the ceremony is about, another dealer, and a ceremony without one', async () => {
  const now = await party;
  const seed = random(32);
  const splitting = await begin(2, 3, { mode: 'dealer', existing: ed25519.getPublicKey(seed) });
  await assert.rejects(deal(now.ceremony, now.initiator, seed, random), failed(/not that of the key/));
  await assert.rejects(deal(splitting.ceremony, splitting.initiator, null, random), failed(/not that of the key/));
  await assert.rejects(deal(splitting.ceremony, splitting.initiator, random(32), random), failed(/not that of the key/));
  await assert.rejects(deal(now.ceremony, makeNode(), null, random), failed(/nobody deals/));
  const without = await begin(2, 3);
  await assert.rejects(deal(without.ceremony, without.initiator, null, random), failed(/nobody deals/));
  await assert.rejects(dkgRound1(now.ceremony, now.holders[0]!, random), failed(/a dealer makes the key/));
});

test('acceptDeal refuses a deal of another dealer, another ceremony, another key, wrong or swapped shares', async () => {
  const now = await party;
  const message = await deal(now.ceremony, now.initiator, null, random);
  const value = JSON.parse(Buffer.from(parseEnvelope(message).payload).toString()) as {
    ceremony: string;
    commitment: string[];
    shares: ({ to: string } & Sealed)[];
  };
  const forged = (patch: object, node = now.initiator): Promise<Uint8Array> => say(node, DEAL, { ...value, ...patch } as never);
  const context = { ceremony: now.ceremony.id, from: '(dealer)', to: 'alpha' };
  const wrong = seal(ed25519_FROST.utils.Fn.toBytes(9n), now.holders[0]!.identity.boxKey, context, random);
  const [a, b, c] = value.shares as [never, never, never];
  const splitting = await begin(2, 3, { mode: 'dealer', existing: ed25519.getPublicKey(sha256Of('seed')) });
  const elsewhere = await deal(splitting.ceremony, splitting.initiator, sha256Of('seed'), random);
  for (const [bad, why] of [
    [await forged({}, makeNode()), /signed by nobody/],
    [elsewhere, /signed by nobody/],
    [await forged({ ceremony: splitting.ceremony.id }), /another ceremony/],
    [await forged({ shares: [{ to: 'alpha', ...wrong }, b, c] }), /dealt to alpha is not of the polynomial/],
    [await forged({ shares: [{ ...(b as object), to: 'alpha' }, b, c] }), /does not open/],
    [await forged({ shares: [b, a, c] }), /one share to each/],
    [await forged({ shares: [a, b] }), /one share to each/],
    [await forged({ commitment: [value.commitment[0], value.commitment[0]] }), /not of the polynomial/],
    [await forged({ commitment: [...value.commitment, value.commitment[0]] }), /3 commitments are not a polynomial/],
  ] as const)
    await assert.rejects(acceptDeal(now.ceremony, now.holders[0]!, bad), failed(why), String(why));
  const other = await begin(2, 3, { mode: 'dealer', existing: ed25519.getPublicKey(sha256Of('another')) });
  const dealtOther = await say(other.initiator, DEAL, { ...value, ceremony: other.ceremony.id } as never);
  await assert.rejects(acceptDeal(other.ceremony, other.holders[0]!, dealtOther), failed(/does not open|another key/));
});

test('a dealer that deals to each holder another key is noticed by the confirmations', async () => {
  const now = await party;
  const [one, two] = [await deal(now.ceremony, now.initiator, null, random), await deal(now.ceremony, now.initiator, null, random)];
  const accepted = await Promise.all(now.holders.map((holder, at) => acceptDeal(now.ceremony, holder, at === 2 ? two! : one!)));
  for (const [at, state] of accepted.entries())
    assert.throws(
      () => finishCeremony(state, messagesOf(accepted)),
      failed(at === 2 ? /alpha confirms another/ : /gamma confirms another/),
    );
});

test('deal leaves a holder’s secret in no place but its own: two shares of three make the key, one does not', async () => {
  const shares = await dealt(await party);
  const combined = (some: typeof shares): Uint8Array =>
    ed25519_FROST.combineSecret(
      some.map((one) => ({ identifier: one.holder.identifier, signingShare: Uint8Array.from(one.secret()) })),
      { min: 2, max: 3 },
    );
  assert.deepEqual(combined(shares.slice(0, 2)), combined(shares.slice(1)));
  assert.throws(() => combined(shares.slice(0, 1)));
});
