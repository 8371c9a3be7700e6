import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519, ed25519_FROST } from '@noble/curves/ed25519.js';
import { toHex } from '@lockstep/protocol/bytes/hex';
import type { DocumentKind } from '@lockstep/protocol/dsse/document';
import { parseEnvelope } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { rawEd25519 } from '@lockstep/protocol/key/any-key';
import { CONFIRMATION, OPENING, ROUND1, ROUND2 } from './ceremony-documents.ts';
import { beginCeremony, readCeremony } from './ceremony.ts';
import { dkgRound1, dkgRound2, dkgRound3 } from './dkg.ts';
import {
  begin,
  finish,
  generate,
  makeHolder,
  makeNode,
  messagesOf,
  type Party,
  random,
  round1,
  round2,
  round3,
  sha256Of,
} from './samples.ts';
import { seal } from './seal.ts';
import { say } from './signed-message.ts';
import { finishCeremony } from './unconfirmed.ts';

const failed =
  (match: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof LockstepError && error.code === 'CEREMONY_FAILED', String(error));
    assert.match(error.message, match);
    return true;
  };

/** What the holder at this place would have said, changed, and signed by it. */
async function forge<T>(party: Party, at: number, kind: DocumentKind<T>, message: Uint8Array, patch: Partial<T>): Promise<Uint8Array> {
  const value = JSON.parse(Buffer.from(parseEnvelope(message).payload).toString()) as T;
  return await say(party.holders[at]!.node, kind, { ...value, ...patch });
}

const replaced = (messages: readonly Uint8Array[], at: number, message: Uint8Array): Uint8Array[] => messages.with(at, message);
const honest = begin(2, 3);

for (const [threshold, count] of [
  [2, 2],
  [2, 3],
  [3, 3],
] as const)
  test(`dkgRound1 to finishCeremony give ${count} holders one key, of which any ${threshold} shares are the secret, in any order of messages`, async () => {
    const party = await begin(threshold, count);
    const first = await round1(party);
    const second = await Promise.all(
      first.map((one, at) => dkgRound2(one, at === 0 ? messagesOf(first).toReversed() : messagesOf(first), random)),
    );
    const third = await Promise.all(
      second.map((one, at) => dkgRound3(one, at === 1 ? messagesOf(second).toReversed() : messagesOf(second))),
    );
    const shares = third.map((one) => finishCeremony(one, messagesOf(third).toReversed()));
    assert.equal(new Set(shares.map((one) => one.group.publicKey.id)).size, 1);
    for (const some of [shares.slice(0, threshold), shares.slice(-threshold)]) {
      const secret = ed25519_FROST.combineSecret(
        some.map((one) => ({ identifier: one.holder.identifier, signingShare: Uint8Array.from(one.secret()) })),
        { min: threshold, max: count },
      );
      const scalar = ed25519_FROST.utils.Fn.fromBytes(secret);
      assert.deepEqual(ed25519.Point.BASE.multiply(scalar).toBytes(), rawEd25519(shares[0]!.group.publicKey));
    }
  });

test('beginCeremony refuses thresholds and participants that are none', async () => {
  const [a, b, c] = ['a', 'b', 'c'].map((name) => makeHolder(name).identity) as [never, never, never];
  const plan = { mode: 'dkg', keyName: 'release', use: 'release-raw', existing: null, threshold: 2 } as const;
  for (const patch of [
    { threshold: 1 },
    { threshold: 4 },
    { threshold: 1, participants: [a] },
    { participants: [] },
    { participants: [a, a, b] },
    { participants: [a, { ...(b as object), name: 'a' }, c] },
    { participants: [{ ...(a as object), name: 'd' }, a, b] },
    { participants: [a, { ...(b as object), nodeKey: a['nodeKey'] }, c] },
    { participants: [a, { ...(b as object), boxKey: a['boxKey'] }, c] },
    { participants: [a, b, { ...(c as object), name: '../c' }] },
    { use: 'attestation' },
    { use: 'secure-boot' },
    { existing: rawEd25519((await generate(await honest))[0]!.group.publicKey) },
    { participants: Array.from({ length: 33 }, (_, at) => makeHolder(`n${at}`).identity) },
  ])
    await assert.rejects(
      beginCeremony({ ...plan, participants: [a, b, c], ...(patch as object) }, makeNode(), random),
      failed(/cannot begin/),
      JSON.stringify(Object.keys(patch)),
    );
});

test('readCeremony refuses an opening of another initiator, and one that names another than it is signed by', async () => {
  const { ceremony, initiator } = await honest;
  const value = JSON.parse(Buffer.from(ceremony.payload).toString()) as never;
  const other = makeNode();
  const message = await say(other, OPENING, value);
  assert.throws(() => readCeremony(message, [initiator.public]), failed(/signed by nobody/));
  assert.throws(() => readCeremony(message, [other.public]), failed(/not signed by the initiator/));
});

test('dkgRound1 refuses a holder that is not in the ceremony, or is with other keys', async () => {
  const party = await honest;
  await assert.rejects(dkgRound1(party.ceremony, makeHolder('alpha'), random), failed(/alpha does not take part/));
  await assert.rejects(dkgRound1(party.ceremony, makeHolder('omega'), random), failed(/omega does not take part/));
});

test('dkgRound2 refuses and names: missing, doubled, foreign, renamed, of another ceremony, another step, or forged', async () => {
  const party = await honest;
  const first = await round1(party);
  const again = await round1(party);
  const elsewhere = await round1(await begin(2, 3));
  const [a, b, c] = messagesOf(first) as [Uint8Array, Uint8Array, Uint8Array];
  const later = messagesOf(await round2(first));
  const copied = await say(party.holders[1]!.node, ROUND1, JSON.parse(Buffer.from(parseEnvelope(a).payload).toString()) as never);
  const nonceOf = await begin(2, 3);
  const foreignCeremony = await say(party.holders[1]!.node, ROUND1, {
    ...(JSON.parse(Buffer.from(parseEnvelope(b).payload).toString()) as object),
    ceremony: nonceOf.ceremony.id,
  } as never);
  const cut = b.slice(0, -10);
  for (const [messages, why] of [
    [[a, b], /no frost-round1 of gamma/],
    [[a, c], /no frost-round1 of beta/],
    [[a, b, b], /no frost-round1 of gamma|beta sent two/],
    [[a, b, messagesOf(again)[1]!], /beta sent two/],
    [[a, b, c, c], /4 messages/],
    [[a, b, messagesOf(elsewhere)[2]!], /signed by nobody/],
    [[a, foreignCeremony, c], /beta sent a frost-round1 of another ceremony/],
    [[a, later[1]!, c], /Message 2 of frost-round1 is no frost-round1/],
    [[a, copied, c], /beta sent a frost-round1 in the name of alpha/],
    [[a, cut, c], /Message 2 of frost-round1 is not a DSSE envelope/],
    [[messagesOf(again)[0]!, b, c], /The message of alpha is not the one that it sent/],
    [[], /no frost-round1 of alpha/],
  ] as const)
    await assert.rejects(dkgRound2(first[0]!, messages, random), failed(why));
});

test('dkgRound2 names who gives a bad proof of knowledge, another’s proof, or a polynomial of another length', async () => {
  const party = await honest;
  const first = await round1(party);
  const messages = messagesOf(first);
  const valueOf = (at: number): { commitment: string[]; proof: string } =>
    JSON.parse(Buffer.from(parseEnvelope(messages[at]!).payload).toString()) as never;
  const changed = `${valueOf(1).proof.slice(0, 64)}02${valueOf(1).proof.slice(66)}`;
  for (const [patch, why] of [
    [{ proof: changed }, /beta did not prove/],
    [{ proof: valueOf(2).proof }, /beta did not prove/],
    // A rogue key: the others' first commitments taken away from one that is known.
    [{ commitment: [valueOf(0).commitment[0]!, valueOf(1).commitment[1]!] }, /beta did not prove/],
    [{ commitment: [...valueOf(1).commitment, valueOf(1).commitment[1]!] }, /beta committed to 3 coefficients, not to 2/],
  ] as const)
    await assert.rejects(
      dkgRound2(first[0]!, replaced(messages, 1, await forge(party, 1, ROUND1, messages[1]!, patch as never)), random),
      failed(why),
    );
  const bad = async (point: string): Promise<Uint8Array> => {
    const value = valueOf(1);
    const kind = { ...ROUND1, decode: (json: never) => ({ ok: true as const, value: json }) };
    return await say(party.holders[1]!.node, kind as never, { ...value, commitment: [value.commitment[0], point] } as never);
  };
  for (const point of [
    `01${'00'.repeat(31)}`,
    '00'.repeat(32),
    'ff'.repeat(32),
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  ])
    await assert.rejects(dkgRound2(first[0]!, replaced(messages, 1, await bad(point)), random), failed(/of beta is broken: .*point/));
});

test('dkgRound3 names who deals a wrong share, one for another holder, none, or junk', async () => {
  const party = await honest;
  const second = await round2(await round1(party));
  const messages = messagesOf(second);
  const sharesOf = (at: number): { to: string; ephemeral: string; box: string }[] =>
    (JSON.parse(Buffer.from(parseEnvelope(messages[at]!).payload).toString()) as { shares: never }).shares;
  const { id } = party.ceremony;
  const alphaKey = party.holders[0]!.identity.boxKey;
  const wrongScalar = seal(ed25519_FROST.utils.Fn.toBytes(7n), alphaKey, { ceremony: id, from: 'beta', to: 'alpha' }, random);
  const zero = seal(new Uint8Array(32), alphaKey, { ceremony: id, from: 'beta', to: 'alpha' }, random);
  const tooLarge = seal(new Uint8Array(32).fill(255), alphaKey, { ceremony: id, from: 'beta', to: 'alpha' }, random);
  const otherCeremony = seal(sha256Of('x'), alphaKey, { ceremony: sha256Of('y') as never, from: 'beta', to: 'alpha' }, random);
  const [toAlpha, toGamma] = sharesOf(1) as [never, never];
  const gammas = sharesOf(2)[0]!;
  for (const [shares, why] of [
    [[{ to: 'alpha', ...wrongScalar }, toGamma], /share that beta dealt to alpha is not of the polynomial/],
    [[{ to: 'alpha', ...zero }, toGamma], /share that beta dealt to alpha is not of the polynomial/],
    [[{ to: 'alpha', ...tooLarge }, toGamma], /share that beta dealt to alpha is not of the polynomial/],
    [[{ to: 'alpha', ...otherCeremony }, toGamma], /share that beta dealt to alpha does not open/],
    [[gammas, toGamma], /share that beta dealt to alpha does not open/],
    [[{ ...(toGamma as object), to: 'alpha' }, toGamma], /share that beta dealt to alpha does not open/],
    [[toGamma, toAlpha], /beta did not deal one share to each/],
    [[toAlpha], /beta did not deal one share to each/],
    [[toAlpha, toAlpha], /beta did not deal one share to each/],
    [[{ ...(toAlpha as object), to: 'beta' }, toGamma], /beta did not deal one share to each/],
  ] as const)
    await assert.rejects(
      dkgRound3(second[0]!, replaced(messages, 1, await forge(party, 1, ROUND2, messages[1]!, { shares } as never))),
      failed(why),
    );
  await assert.rejects(dkgRound3(second[0]!, messages.slice(1)), failed(/no frost-round2 of alpha/));
});

test('a participant that tells two stories in round 1 is noticed in round 3', async () => {
  const party = await honest;
  const first = await round1(party);
  const other = await dkgRound1(party.ceremony, party.holders[2]!, random);
  const forAlpha = messagesOf(first);
  const forBeta = replaced(forAlpha, 2, other.message);
  const alpha = await dkgRound2(first[0]!, forAlpha, random);
  const beta = await dkgRound2(first[1]!, forBeta, random);
  const gamma = await dkgRound2(first[2]!, forAlpha, random);
  await assert.rejects(dkgRound3(alpha, messagesOf([alpha, beta, gamma])), failed(/beta had other messages of round 1/));
  await assert.rejects(dkgRound3(beta, messagesOf([alpha, beta, gamma])), failed(/alpha had other messages of round 1/));
});

test('a participant that tells two stories in round 2 is noticed by the confirmations, and no share becomes usable', async () => {
  const party = await honest;
  const second = await round2(await round1(party));
  const messages = messagesOf(second);
  // Good for alpha, who cannot see that what it has for beta is not what beta has.
  const [toAlpha] = (JSON.parse(Buffer.from(parseEnvelope(messages[2]!).payload).toString()) as { shares: never[] }).shares;
  const resealed = {
    to: 'beta',
    ...seal(sha256Of('junk'), party.holders[1]!.identity.boxKey, { ceremony: party.ceremony.id, from: 'gamma', to: 'beta' }, random),
  };
  const forAlpha = await forge(party, 2, ROUND2, messages[2]!, { shares: [toAlpha, resealed] } as never);
  const alpha = await dkgRound3(second[0]!, replaced(messages, 2, forAlpha));
  const [beta, gamma] = await Promise.all(second.slice(1).map((one) => dkgRound3(one, messages)));
  const confirmations = messagesOf([alpha, beta!, gamma!]);
  assert.throws(() => finishCeremony(alpha, confirmations), failed(/beta confirms another transcript/));
  assert.throws(() => finishCeremony(beta!, confirmations), failed(/alpha confirms another transcript/));
});

test('finishCeremony wants the confirmation of everybody, of this ceremony, over the same transcript', async () => {
  const party = await honest;
  const third = await round3(await round2(await round1(party)));
  const repeated = await round3(await round2(await round1(party)));
  const [a, b, c] = messagesOf(third) as [Uint8Array, Uint8Array, Uint8Array];
  const otherKey = await forge(party, 1, CONFIRMATION, b, { group_key: toHex(rawEd25519(repeated[0]!.draft.publicKey)) } as never);
  for (const [messages, why] of [
    [[a, b], /no frost-confirmation of gamma/],
    [[a, c], /no frost-confirmation of beta/],
    [[b, c], /no frost-confirmation of alpha/],
    [[a, b, b], /no frost-confirmation of gamma|beta sent two/],
    [[a, messagesOf(repeated)[1]!, c], /beta confirms another transcript/],
    [[a, otherKey, c], /beta confirms another public key/],
    [[a, b, c, c], /4 messages/],
  ] as const)
    assert.throws(() => finishCeremony(third[0]!, messages), failed(why));
  assert.equal(finish(third).length, 3);
});

test('the state of a ceremony shows no secret to JSON or to an inspector', async () => {
  const { inspect } = await import('node:util');
  const party = await honest;
  const first = await round1(party);
  const second = await round2(first);
  const third = await round3(second);
  for (const state of [first[0]!, second[0]!, third[0]!]) {
    const shown = inspect(state, { depth: 20, showHidden: true }) + JSON.stringify(state);
    const secret = state.secret();
    const numbers = secret instanceof Uint8Array ? [secret.join(', '), secret.join(','), toHex(secret)] : secret.coefficients!.map(String);
    for (const one of numbers) assert.ok(!shown.includes(one));
  }
});
