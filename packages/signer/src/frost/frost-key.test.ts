import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import { test } from 'node:test';
import { fromBase64, toBase64 } from '@lockstep/protocol/bytes/base64';
import { toHex } from '@lockstep/protocol/bytes/hex';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { formatEnvelope, parseEnvelope } from '@lockstep/protocol/dsse/envelope';
import { canonicalBytes } from '@lockstep/protocol/json/canonical';
import type { HolderChannel } from './ask-holders.ts';
import { type FrostKey, type FrostKeyOptions, frostKey } from './frost-key.ts';
import { decodeGroup, encodeGroup } from './group.ts';
import type { HolderOptions } from './holder-options.ts';
import { begin, channelTo, dealt, generate, holderOf, makeNode, type Party, random, requestOf, sha256Of } from './samples.ts';
import { COMMITMENTS, SHARES } from './session-documents.ts';
import { payloadTypeOf, say } from './signed-message.ts';
import { decodeShare, encodeShare } from './share-file.ts';
import type { FrostShare } from './unconfirmed.ts';
import type { HolderSecrets, NodeKey } from './identity.ts';

const messages = [toUtf8('one'), new Uint8Array(), sha256Of('three')];

interface Setting {
  readonly party: Party;
  readonly shares: readonly FrostShare[];
  readonly coordinator: NodeKey;
}

async function setting(threshold: number, count: number): Promise<Setting> {
  const party = await begin(threshold, count);
  return { party, shares: await generate(party), coordinator: makeNode() };
}

function keyOf({ party, shares, coordinator }: Setting, holders: readonly HolderChannel[], more: Partial<FrostKeyOptions> = {}): FrostKey {
  const group = shares[0]!.group;
  const { keyName: name, use } = party.ceremony;
  return frostKey({ group, name, use, holders, coordinator, random, patienceMilliseconds: 20_000, ...more });
}

function channels({ party, shares, coordinator }: Setting, more: Partial<HolderOptions> = {}): HolderChannel[] {
  return shares.map((share) => channelTo(share.holder.name, holderOf(party, share, coordinator, more)));
}

function assertSigned(key: FrostKey, signatures: readonly Uint8Array[]): void {
  const spki = createPublicKey({ key: Buffer.from(key.public.spki), format: 'der', type: 'spki' });
  assert.equal(signatures.length, messages.length);
  for (const [index, message] of messages.entries()) assert.equal(verify(null, message, spki, signatures[index]!), true);
}

const isCode =
  (code: string, match = /./) =>
  (error: unknown): boolean =>
    error instanceof Error && 'code' in error && error.code === code && match.test(error.message);

const [at2of3, at3of3] = [setting(2, 3), setting(3, 3)];

for (const mode of ['dkg', 'dealer'] as const)
  test(`frostKey signs 2 of 3 (${mode})`, async () => {
    const party = await begin(2, 3, { mode });
    const now = { party, shares: await (mode === 'dkg' ? generate(party) : dealt(party)), coordinator: makeNode() };
    const { signatures, signers, faults } = await keyOf(now, channels(now)).signAll(messages, requestOf(messages));
    assertSigned(keyOf(now, []), signatures);
    assert.deepEqual([signers.length, faults], [2, []]);
  });

test('frostKey.sign gives the message as the request', async () => {
  const now = await at2of3;
  const key = keyOf(now, channels(now, { check: (request) => Promise.resolve({ ok: true, messages: [request] }) }));
  const spki = createPublicKey({ key: Buffer.from(key.public.spki), format: 'der', type: 'spki' });
  assert.equal(verify(null, toUtf8('m'), spki, await key.sign(toUtf8('m'))), true);
  await key.close();
  await assert.rejects(key.sign(toUtf8('m')), isCode('CUSTODY_FAILED', /closed/));
});

test('frostKey splits an existing key: same public key, and both sign', async () => {
  const pair = generateKeyPairSync('ed25519');
  const seed = new Uint8Array(pair.privateKey.export({ type: 'pkcs8', format: 'der' }).subarray(16));
  const existing = new Uint8Array(pair.publicKey.export({ type: 'spki', format: 'der' }).subarray(12));
  const party = await begin(2, 3, { mode: 'dealer', existing });
  const now = { party, shares: await dealt(party, seed), coordinator: makeNode() };
  const key = keyOf(now, channels(now));
  assert.deepEqual(Buffer.from(key.public.spki), pair.publicKey.export({ type: 'spki', format: 'der' }));
  const { signatures } = await key.signAll(messages, requestOf(messages));
  assert.equal(verify(null, messages[0]!, pair.publicKey, signatures[0]!), true);
});

test('frostKey takes another holder for one that refuses, is silent, or fails, and begins a new session', async () => {
  const now = await at2of3;
  const [, beta, gamma] = channels(now) as [HolderChannel, HolderChannel, HolderChannel];
  const refusing = channels(now, { check: () => Promise.resolve({ ok: false, reason: 'the version goes back' }) })[0]!;
  for (const [bad, why] of [
    [refusing, /alpha: the version goes back/],
    [{ name: 'alpha', ask: () => new Promise<Uint8Array>(() => {}) }, /alpha: it is silent/],
    [{ name: 'alpha', ask: () => Promise.reject(new Error('no route')) }, /alpha: it is silent/],
    [{ name: 'alpha', ask: () => Promise.resolve(toUtf8('junk')) }, /alpha: its commitment is not a DSSE envelope/],
    [{ name: 'alpha', ask: (message: Uint8Array) => beta.ask(message) }, /alpha: its (commitment|refusal) /],
    [{ name: 'alpha', ask: (message: Uint8Array) => Promise.resolve(message) }, /alpha: its commitment is no frost-commitments/],
  ] as const) {
    const seen: Uint8Array[] = [];
    const watched = { name: 'gamma', ask: (message: Uint8Array) => (seen.push(message), gamma.ask(message)) };
    const key = keyOf(now, [bad, watched, beta], { patienceMilliseconds: bad === refusing ? 20_000 : 5000 });
    const { signatures, signers, faults } = await key.signAll(messages, requestOf(messages));
    assertSigned(key, signatures);
    assert.deepEqual(signers, ['beta', 'gamma']);
    assert.match(faults.join('\n'), why);
    assert.notDeepEqual(seen[0], seen[1], 'the second session is another one');
  }
});

/** Signs what it likes with the holder's own node key. */
function lying(inner: HolderChannel, { node, identity }: HolderSecrets, change: (shares: string[]) => string[]): HolderChannel {
  return {
    name: inner.name,
    ask: async (message) => {
      const answer = await inner.ask(message);
      if (payloadTypeOf(answer) !== SHARES.payloadType) return answer;
      const value = JSON.parse(Buffer.from(parseEnvelope(answer).payload).toString()) as { session: string; shares: string[] };
      return await say(node, SHARES, {
        schema: 'lockstep-frost-shares/v1',
        session: value.session as never,
        from: identity.name,
        shares: change(value.shares),
      });
    },
  };
}

test('frostKey names a holder that gives a bad share, and goes on without it', async () => {
  const now = await at2of3;
  const [alpha, beta, gamma] = channels(now) as [HolderChannel, HolderChannel, HolderChannel];
  const changes: Record<string, [(shares: string[]) => string[], RegExp]> = {
    'another scalar for the last message': [(shares) => [...shares.slice(0, -1), `02${'00'.repeat(31)}`], /alpha: its share is wrong/],
    'the shares in another order': [(shares) => shares.toReversed(), /alpha: its share is wrong/],
    'a share too few': [(shares) => shares.slice(1), /alpha: its shares are of another session/],
  };
  for (const [what, [change, why]] of Object.entries(changes)) {
    const key = keyOf(now, [lying(alpha, now.party.holders[0]!, change), beta, gamma]);
    const { signatures, signers, faults } = await key.signAll(messages, requestOf(messages));
    assertSigned(key, signatures);
    assert.deepEqual(signers, ['beta', 'gamma'], what);
    assert.match(faults.join('\n'), why, what);
    assert.equal(faults.length, 1, 'asked once only');
  }
});

test('frostKey names a holder whose commitments are no points, or of small order', async () => {
  const now = await at2of3;
  const [alpha, beta, gamma] = channels(now) as [HolderChannel, HolderChannel, HolderChannel];
  const { node } = now.party.holders[0]!;
  for (const point of ['ff'.repeat(32), `01${'00'.repeat(31)}`, 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a']) {
    const bad: HolderChannel = {
      name: 'alpha',
      ask: async (message) => {
        const value = JSON.parse(Buffer.from(parseEnvelope(await alpha.ask(message)).payload).toString()) as { messages: object[] };
        return await say(node, COMMITMENTS, { ...value, messages: value.messages.map((one) => ({ ...one, hiding: point })) } as never);
      },
    };
    const { signatures, faults } = await keyOf(now, [bad, beta, gamma]).signAll(messages, requestOf(messages));
    assertSigned(keyOf(now, []), signatures);
    assert.deepEqual(faults, ['alpha: its commitments are no points']);
  }
});

test('frostKey fails with SIGNING_REFUSED when holders refuse, with CUSTODY_FAILED when they cannot be had, and names them', async () => {
  const now = await at3of3;
  const [alpha, beta] = channels(now) as [HolderChannel, HolderChannel];
  const [, , refusing] = channels(now, { check: () => Promise.resolve({ ok: false, reason: 'no\nquorum' }) });
  const request = requestOf(messages);
  await assert.rejects(keyOf(now, [alpha, beta, refusing!]).signAll(messages, request), isCode('SIGNING_REFUSED', /gamma: no quorum/));
  await assert.rejects(keyOf(now, [alpha, beta]).signAll(messages, request), isCode('CUSTODY_FAILED', /fewer than 3/));
  await assert.rejects(keyOf(now, [alpha, beta, alpha]).signAll(messages, request), isCode('CUSTODY_FAILED', /fewer than 3/));
  const stranger = { name: 'stranger', ask: (message: Uint8Array) => alpha.ask(message) };
  await assert.rejects(keyOf(now, [alpha, beta, stranger]).signAll(messages, request), isCode('CUSTODY_FAILED', /fewer than 3/));
  await assert.rejects(keyOf(now, [alpha, beta]).signAll([], request), isCode('CUSTODY_FAILED', /1 to 64/));
  await assert.rejects(keyOf(now, [alpha]).signAll(messages, new Uint8Array((8 << 20) + 1)), isCode('CUSTODY_FAILED', /bytes/));
});

test('frostKey: holders that find other messages in the request are told so, and nothing is signed', async () => {
  const now = await at2of3;
  const request = requestOf([toUtf8('another')]);
  await assert.rejects(keyOf(now, channels(now)).signAll(messages, request), isCode('CUSTODY_FAILED', /other messages/));
});

test('frostKey: a holder that lost its session by a restart is asked again, and 3 of 3 still sign', async () => {
  const now = await at3of3;
  const [alpha, beta] = channels(now) as [HolderChannel, HolderChannel];
  let restarts = 0;
  let gamma = holderOf(now.party, now.shares[2]!, now.coordinator);
  const restarting: HolderChannel = {
    name: 'gamma',
    ask: async (message) => {
      const answer = await gamma.answer(message);
      if (restarts++ === 0) gamma = holderOf(now.party, decodeShare(encodeShare(now.shares[2]!)), now.coordinator);
      return answer;
    },
  };
  const key = keyOf(now, [alpha, beta, restarting]);
  const { signatures, faults } = await key.signAll(messages, requestOf(messages));
  assertSigned(key, signatures);
  assert.deepEqual(faults, ['gamma: This session is not open here']);
});

test('frostKey: a coordinator that the holders do not know gets nothing', async () => {
  const now = await at2of3;
  const key = keyOf(now, channels(now), { coordinator: makeNode() });
  await assert.rejects(key.signAll(messages, requestOf(messages)), isCode('CUSTODY_FAILED', /signed by nobody who takes part/));
});

test('frostKey refuses a use that the key was not made for', async () => {
  const now = await at2of3;
  assert.throws(() => keyOf(now, [], { use: 'release-minisign' }), isCode('KEY_INVALID'));
  assert.throws(() => keyOf(now, [], { use: 'attestation' }), isCode('KEY_INVALID'));
});

test('decodeGroup refuses a group whose confirmations are missing, doubled or changed', async () => {
  const { shares } = await at2of3;
  const text = Buffer.from(encodeGroup(shares[0]!.group)).toString();
  const value = JSON.parse(text) as { confirmations: string[]; commitment: string[] };
  const [a, b, c] = value.confirmations as [string, string, string];
  const changed = (patch: object): Uint8Array => canonicalBytes({ ...value, ...patch } as never);
  const envelope = parseEnvelope(fromBase64(a)!);
  envelope.signatures[0]!.sig[20]! ^= 1;
  for (const patch of [
    { confirmations: [a, b] },
    { confirmations: [a, b, b] },
    { confirmations: [a, b, c, c] },
    { confirmations: [toBase64(toUtf8(formatEnvelope(envelope))), b, c] },
    { commitment: value.commitment.toReversed() },
    { commitment: value.commitment.slice(1) },
    { commitment: [value.commitment[0], toHex(sha256Of('x'))] },
  ])
    assert.throws(() => decodeGroup(changed(patch)), isCode('CEREMONY_FAILED'));
});

test('frostKey carries a request of the largest size', async () => {
  const now = await at2of3;
  const request = new Uint8Array(8 << 20).fill(0x5a);
  const check: HolderOptions['check'] = (given) => Promise.resolve({ ok: true, messages: given.length === request.length ? messages : [] });
  const key = keyOf(now, channels(now, { check }), { patienceMilliseconds: 60_000 });
  assertSigned(key, (await key.signAll(messages, request)).signatures);
});
