import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toBase64 } from '@lockstep/protocol/bytes/base64';
import { toHex } from '@lockstep/protocol/bytes/hex';
import { fromUtf8, toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { type Sha256, sha256Hex } from '@lockstep/protocol/digest/digest';
import { pae, parseEnvelope } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { HolderOptions } from './holder-options.ts';
import type { FrostHolder } from './holder.ts';
import { begin, generate, holderOf, makeNode, type Party, random, requestOf } from './samples.ts';
import { COMMITMENTS, REFUSAL, type RefusalCode, SESSION, SHARES, SHARING } from './session-documents.ts';
import { payloadTypeOf, say } from './signed-message.ts';
import type { FrostShare } from './unconfirmed.ts';

const coordinator = makeNode();
const made = begin(2, 3).then(async (party) => ({ party, shares: await generate(party) }));
const messages = [toUtf8('one'), toUtf8('two')];

async function holders(more: Partial<HolderOptions> = {}): Promise<{ party: Party; shares: FrostShare[]; all: FrostHolder[] }> {
  const { party, shares } = await made;
  return { party, shares, all: shares.map((share) => holderOf(party, share, coordinator, more)) };
}

async function opening(signers: readonly string[], patch: object = {}, node = coordinator): Promise<Uint8Array> {
  const { party } = await made;
  return await say(node, SESSION, {
    schema: 'lockstep-frost-session/v1',
    ceremony: party.ceremony.id,
    signers,
    nonce: toHex(random(32)),
    request: toBase64(requestOf(messages)),
    ...patch,
  });
}

const idOf = (message: Uint8Array): Sha256 => sha256Hex(pae(SESSION.payloadType, parseEnvelope(message).payload));

function sharing(session: Sha256, commitments: readonly Uint8Array[], node = coordinator): Promise<Uint8Array> {
  return say(node, SHARING, { schema: 'lockstep-frost-sharing/v1', session, commitments: commitments.map((one) => fromUtf8(one)!) });
}

interface Answer {
  readonly code: string;
  readonly reason: string;
  readonly messages: readonly { readonly sha256: string; readonly hiding: string; readonly binding: string }[];
}
function valueOf(message: Uint8Array): Answer {
  return JSON.parse(Buffer.from(parseEnvelope(message).payload).toString()) as Answer;
}

function assertRefused(answer: Uint8Array, code: RefusalCode, reason = /./): void {
  assert.equal(payloadTypeOf(answer), REFUSAL.payloadType);
  const value = valueOf(answer);
  assert.equal(value.code, code, value.reason);
  assert.match(value.reason, reason);
}

/** A session in which both have committed. */
async function committed(all: readonly FrostHolder[]): Promise<{ session: Sha256; open: Uint8Array; commitments: Uint8Array[] }> {
  const open = await opening(['alpha', 'beta']);
  const commitments = [await all[0]!.answer(open), await all[1]!.answer(open)];
  for (const one of commitments) assert.equal(payloadTypeOf(one), COMMITMENTS.payloadType);
  return { session: idOf(open), open, commitments };
}

test('answer refuses a session that is not of this key, this holder, a known coordinator, or enough signers', async () => {
  const { all } = await holders();
  const [alpha] = all as [FrostHolder];
  const elsewhere = (await begin(2, 3)).ceremony.id;
  for (const [message, code, why] of [
    [await opening(['alpha', 'beta'], {}, makeNode()), 'message', /signed by nobody/],
    [await opening(['alpha', 'beta'], { ceremony: elsewhere }), 'message', /another key/],
    [await opening(['beta', 'gamma']), 'message', /this holder among them/],
    [await opening(['alpha', 'omega']), 'message', /of the group/],
    [toUtf8('junk'), 'message', /not a DSSE envelope/],
    [new Uint8Array((16 << 20) + 1), 'message', /larger/],
    [await sharing(elsewhere, [toUtf8('a'), toUtf8('b')]), 'session', /not open here/],
  ] as const)
    assertRefused(await alpha.answer(message), code, why);
  for (const signers of [['alpha'], ['alpha', 'alpha'], ['beta', 'alpha'], []]) await assert.rejects(opening(signers), TypeError);
});

test('answer refuses what its own check refuses, with the reason on one bounded line', async () => {
  const refusing = (reason: string): Promise<{ all: FrostHolder[] }> => holders({ check: () => Promise.resolve({ ok: false, reason }) });
  const open = await opening(['alpha', 'beta']);
  assertRefused(await (await refusing('no quorum')).all[0]!.answer(open), 'evidence', /^no quorum$/);
  assertRefused(await (await refusing(`a\nb\u0000${'x'.repeat(5000)}\ud800`)).all[0]!.answer(open), 'evidence', /^a b x{900}/);
  const failing = await holders({ check: () => Promise.reject(new LockstepError('SIGNING_REFUSED', 'policy expired', 'h')) });
  assertRefused(await failing.all[0]!.answer(open), 'evidence', /^policy expired$/);
  const crashing = await holders({ check: () => Promise.reject(new Error('secret in here')) });
  assertRefused(await crashing.all[0]!.answer(open), 'evidence', /^The check failed$/);
  for (const count of [0, 65]) {
    const many = await holders({ check: () => Promise.resolve({ ok: true, messages: Array.from({ length: count }, () => toUtf8('m')) }) });
    assertRefused(await many.all[0]!.answer(open), 'evidence', /1 to 64/);
  }
});

test('answer gives shares once: repeated, reordered and cross-session messages are refused', async () => {
  const { all } = await holders();
  const [alpha] = all as [FrostHolder];
  const one = await committed(all);
  const two = await committed(all);
  assertRefused(await alpha.answer(one.open), 'session', /opened here before/);
  const share = await sharing(one.session, one.commitments);
  assert.equal(payloadTypeOf(await alpha.answer(share)), SHARES.payloadType);
  assertRefused(await alpha.answer(share), 'session', /not open here/);
  assertRefused(await alpha.answer(one.open), 'session', /opened here before/);
  assertRefused(await alpha.answer(await sharing(two.session, one.commitments)), 'message', /another session/);
  assertRefused(await alpha.answer(await sharing(two.session, two.commitments)), 'session', /not open here/);
});

test('answer: whatever is wrong with a list of commitments, the session is over, and the right list comes too late', async () => {
  const { all, party } = await holders();
  const [alpha, beta] = all as [FrostHolder, FrostHolder];
  const foreign = await committed(all);
  type Case = (now: Awaited<ReturnType<typeof committed>>) => Promise<readonly Uint8Array[]>;
  const resigned = (at: number, message: Uint8Array, patch: object): Promise<Uint8Array> =>
    say(party.holders[at]!.node, COMMITMENTS, { ...valueOf(message), ...patch } as never);
  const cases: Record<string, readonly [Case, RegExp]> = {
    'one is missing': [({ commitments: [a] }) => Promise.resolve([a!, a!]), /in their order/],
    'the order is another': [({ commitments: [a, b] }) => Promise.resolve([b!, a!]), /in their order/],
    'one is there twice': [({ commitments: [a, b] }) => Promise.resolve([a!, b!, b!]), /not one commitment of each/],
    'one is of another session': [({ commitments: [a] }) => Promise.resolve([a!, foreign.commitments[1]!]), /another session/],
    'one is of a holder that was not chosen': [
      async ({ commitments: [a, b] }) => [a!, await resigned(2, b!, { from: 'gamma' })],
      /signed by nobody/,
    ],
    'one is in the name of another': [async ({ commitments: [a] }) => [a!, await resigned(1, a!, {})], /in the name of alpha/],
    'its own is another than it gave': [
      async ({ commitments: [a, b] }) => [await resigned(0, a!, { messages: valueOf(b!).messages }), b!],
      /not the one that it gave/,
    ],
    'a message less': [
      async ({ commitments: [a, b] }) => [a!, await resigned(1, b!, { messages: [valueOf(b!).messages[0]] })],
      /other messages/,
    ],
    'the other found other messages': [
      async ({ commitments: [a, b] }) => [a!, await resigned(1, b!, { messages: valueOf(b!).messages.toReversed() })],
      /other messages/,
    ],
    'a point that is none': [
      async ({ commitments: [a, b] }) => [
        a!,
        await resigned(1, b!, { messages: valueOf(b!).messages.map((one) => ({ ...one, binding: 'ff'.repeat(32) })) }),
      ],
      /not points/,
    ],
    junk: [({ commitments: [a] }) => Promise.resolve([a!, toUtf8('junk')]), /not a DSSE envelope/],
  };
  for (const [list, why] of Object.values(cases)) {
    const now = await committed([alpha, beta]);
    assertRefused(await alpha.answer(await sharing(now.session, await list(now))), 'message', why);
    assertRefused(await alpha.answer(await sharing(now.session, now.commitments)), 'session', /not open here/);
  }
});

test('answer: a stranger, or another coordinator, cannot end a session', async () => {
  const second = makeNode();
  const { party, shares } = await made;
  const all = shares.map((share) => holderOf(party, share, coordinator, { coordinators: [coordinator.public, second.public] }));
  const now = await committed(all);
  assertRefused(await all[0]!.answer(await sharing(now.session, now.commitments, makeNode())), 'message', /signed by nobody/);
  assertRefused(await all[0]!.answer(await sharing(now.session, now.commitments, second)), 'session', /not open here/);
  assert.equal(payloadTypeOf(await all[0]!.answer(await sharing(now.session, now.commitments))), SHARES.payloadType);
});

test('answer remembers the session before shares leave; when it cannot, none leave and the session is over', async () => {
  const remembered: string[] = [];
  const ok = await holders({ remember: (id) => Promise.resolve(void remembered.push(id)) });
  const now = await committed(ok.all);
  assert.deepEqual(remembered, []);
  await ok.all[0]!.answer(await sharing(now.session, now.commitments));
  assert.deepEqual(remembered, [now.session]);

  const { all } = await holders({ remember: () => Promise.reject(new LockstepError('STORE_UNUSABLE', 'disk full', 'h')) });
  const later = await committed(all);
  const message = await sharing(later.session, later.commitments);
  assertRefused(await all[0]!.answer(message), 'state', /disk full/);
  assertRefused(await all[0]!.answer(message), 'session');
});

test('answer: two requests for shares at the same time get one answer', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { all } = await holders({ remember: () => promise });
  const now = await committed(all);
  const message = await sharing(now.session, now.commitments);
  const [first, second] = [all[0]!.answer(message), all[0]!.answer(message)];
  assertRefused(await second, 'session', /not open here/);
  resolve();
  assert.equal(payloadTypeOf(await first), SHARES.payloadType);
});

test('answer forgets a session after 120 seconds, and when the clock is put back', async () => {
  for (const [passed, open] of [
    [119_999, true],
    [120_000, false],
    [-1, false],
  ] as const) {
    let now = 5_000_000;
    const { all } = await holders({ now: () => now });
    const one = await committed(all);
    now += passed;
    const answer = await all[0]!.answer(await sharing(one.session, one.commitments));
    if (open) assert.equal(payloadTypeOf(answer), SHARES.payloadType);
    else assertRefused(answer, 'session', /not open here/);
  }
});

test('answer keeps 16 sessions open, counting those being checked, and takes more after 120 seconds', async () => {
  let now = 5_000_000;
  const { all } = await holders({ now: () => now });
  const opened = await Promise.all(Array.from({ length: 17 }, () => opening(['alpha', 'beta'])));
  const answers = await Promise.all(opened.map((one) => all[0]!.answer(one)));
  const types = answers.map((one) => payloadTypeOf(one));
  assert.equal(types.filter((one) => one === COMMITMENTS.payloadType).length, 16);
  assertRefused(answers.find((one) => payloadTypeOf(one) === REFUSAL.payloadType)!, 'busy');
  now += 120_000;
  assert.equal(payloadTypeOf(await all[0]!.answer(await opening(['alpha', 'beta']))), COMMITMENTS.payloadType);
});

test('answer: a session opened twice while its request is checked gets nonces once', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { all } = await holders({ check: async () => (await promise, { ok: true, messages }) });
  const open = await opening(['alpha', 'beta']);
  const [first, second] = [all[0]!.answer(open), all[0]!.answer(open)];
  assertRefused(await second, 'session', /opened here before/);
  resolve();
  assert.equal(payloadTypeOf(await first), COMMITMENTS.payloadType);
});

test('answer gives the place up when the node key fails, so that failures do not fill the memory', async () => {
  const { party, shares } = await made;
  const inner = party.holders[0]!.node;
  let broken = true;
  const node = {
    public: inner.public,
    sign: (message: Uint8Array) => (broken ? Promise.reject(new Error('no token')) : inner.sign(message)),
  };
  const alpha = holderOf(party, shares[0]!, coordinator, { node });
  for (let run = 0; run < 20; run++) await assert.rejects(alpha.answer(await opening(['alpha', 'beta'])), /no token/);
  broken = false;
  assert.equal(payloadTypeOf(await alpha.answer(await opening(['alpha', 'beta']))), COMMITMENTS.payloadType);
});

test('close ends all sessions, and wipes the share', async () => {
  const { party } = await made;
  const [alpha, beta] = (await generate(party)) as [FrostShare, FrostShare];
  const all = [alpha, beta].map((share) => holderOf(party, share, coordinator, {}));
  const again = await opening(['alpha', 'beta']);
  await all[0]!.answer(again);
  all[0]!.close();
  assertRefused(await all[0]!.answer(again), 'session', /closed/);
  assert.deepEqual(alpha.secret(), new Uint8Array(32));
});

test('nonces differ by session, message and place even when the random numbers repeat, as after a restored snapshot', async () => {
  const stuck = { random: (bytes: number) => new Uint8Array(bytes).fill(7) };
  const same = { check: () => Promise.resolve({ ok: true as const, messages: [messages[0]!, messages[0]!, messages[1]!] }) };
  const points: string[] = [];
  for (let run = 0; run < 2; run++) {
    const { all } = await holders({ ...stuck, ...same });
    for (let session = 0; session < 2; session++)
      for (const { hiding, binding } of valueOf(await all[0]!.answer(await opening(['alpha', 'beta']))).messages)
        points.push(hiding, binding);
  }
  assert.equal(new Set(points).size, 2 * 2 * 3 * 2);
});

test('frostHolder refuses a node key that the group does not know', async () => {
  const { party, shares } = await made;
  assert.throws(
    () => holderOf(party, shares[0]!, coordinator, { node: makeNode() }),
    (error: unknown) => error instanceof LockstepError && error.code === 'KEY_INVALID',
  );
});

test('answer writes down what its own session was checked for, when two are open at once, in every order', async () => {
  const { party, shares } = await made;
  for (const order of [
    [0, 1],
    [1, 0],
  ] as const) {
    const written: string[] = [];
    const check: HolderOptions['check'] = (request) =>
      Promise.resolve({ ok: true, messages: [request], written: () => Promise.resolve(void written.push(fromUtf8(request) ?? '')) });
    const all = shares.map((share) => holderOf(party, share, coordinator, { check }));
    const opened: { session: Sha256; commitments: Uint8Array[] }[] = [];
    for (const text of ['first', 'second']) {
      const open = await opening(['alpha', 'beta'], { request: toBase64(toUtf8(text)) });
      opened.push({ session: idOf(open), commitments: [await all[0]!.answer(open), await all[1]!.answer(open)] });
    }
    for (const at of order) {
      const { session, commitments } = opened[at]!;
      assert.equal(payloadTypeOf(await all[0]!.answer(await sharing(session, commitments))), SHARES.payloadType);
      assert.equal(written.at(-1), ['first', 'second'][at]);
    }
    assert.equal(written.length, 2);
  }
});
