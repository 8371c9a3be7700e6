/** Every message parser of this folder, with bytes that are nearly right, also under a good signature. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sha256Hex } from '@lockstep/protocol/digest/digest';
import { mutate, randomFrom } from '@lockstep/protocol/bytes/mutation-samples';
import { toBase64 } from '@lockstep/protocol/bytes/base64';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { type DocumentKind, formatDocument } from '@lockstep/protocol/dsse/document';
import { formatEnvelope, pae, parseEnvelope } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { CONFIRMATION, DEAL, OPENING, ROUND1, ROUND2 } from './ceremony-documents.ts';
import { readCeremony } from './ceremony.ts';
import { acceptDeal, deal } from './dealer.ts';
import { dkgRound2, dkgRound3 } from './dkg.ts';
import { frostKey } from './frost-key.ts';
import { decodeGroup, encodeGroup } from './group.ts';
import type { NodeKey } from './identity.ts';
import { begin, channelTo, generate, holderOf, makeNode, messagesOf, random, requestOf, round1, round2, round3 } from './samples.ts';
import { COMMITMENTS, REFUSAL, SESSION, SHARES, SHARING } from './session-documents.ts';
import { hear, payloadTypeOf, say } from './signed-message.ts';
import { finishCeremony } from './unconfirmed.ts';

const RUNS = 120;

async function signed(node: NodeKey, payloadType: string, payload: Uint8Array): Promise<Uint8Array> {
  const sig = await node.sign(pae(payloadType, payload));
  return toUtf8(formatEnvelope({ payloadType, payload, signatures: [{ keyid: node.public.id, sig }] }));
}

/** Two kinds of inputs: the envelope changed, and the payload changed under a good signature. */
async function* nearly(message: Uint8Array, node: NodeKey, seed: number): AsyncGenerator<Uint8Array> {
  const below = randomFrom(seed);
  const { payloadType, payload } = parseEnvelope(message);
  for (let run = 0; run < RUNS; run++) {
    const changed = mutate([run % 2 === 0 ? message : payload], below);
    yield run % 2 === 0 ? changed : await signed(node, payloadType, changed);
  }
}

/** Either it does not throw, or the named error. */
async function only(code: string, attempt: () => unknown): Promise<void> {
  try {
    await attempt();
  } catch (error) {
    assert.ok(error instanceof LockstepError && error.code === code, error instanceof Error ? error.stack : String(error));
  }
}

test('hear of any bytes gives a result, and what it accepts has one spelling', async () => {
  const party = await begin(2, 3);
  const [first, dealerParty] = [await round1(party), await begin(2, 3, { mode: 'dealer' })];
  const second = await round2(first);
  const third = await round3(second);
  const node = makeNode();
  const session = sha256Hex(toUtf8('session'));
  const from = 'alpha';
  const point = '5866666666666666666666666666666666666666666666666666666666666666';
  const examples: readonly (readonly [DocumentKind<never>, Uint8Array])[] = [
    [OPENING as never, await signed(node, OPENING.payloadType, party.ceremony.payload)],
    [ROUND1 as never, first[0]!.message],
    [ROUND2 as never, second[0]!.message],
    [DEAL as never, await deal(dealerParty.ceremony, dealerParty.initiator, null, random)],
    [CONFIRMATION as never, third[0]!.message],
    [
      SESSION as never,
      await say(node, SESSION, {
        schema: 'lockstep-frost-session/v1',
        ceremony: party.ceremony.id,
        signers: ['alpha', 'beta'],
        nonce: session,
        request: toBase64(requestOf([toUtf8('m')])),
      }),
    ],
    [
      COMMITMENTS as never,
      await say(node, COMMITMENTS, {
        schema: 'lockstep-frost-commitments/v1',
        session,
        from,
        messages: [{ sha256: session, hiding: point, binding: point }],
      }),
    ],
    [SHARING as never, await say(node, SHARING, { schema: 'lockstep-frost-sharing/v1', session, commitments: ['{}', '{}'] })],
    [SHARES as never, await say(node, SHARES, { schema: 'lockstep-frost-shares/v1', session, from, shares: [`02${'00'.repeat(31)}`] })],
    [REFUSAL as never, await say(node, REFUSAL, { schema: 'lockstep-frost-refusal/v1', session: null, from, code: 'busy', reason: 'é' })],
  ];
  for (const [index, [kind, original]] of examples.entries()) {
    const message = await signed(node, kind.payloadType, parseEnvelope(original).payload);
    assert.equal(hear(kind, message, [{ name: from, nodeKey: node.public }]).ok, true, kind.noun);
    for await (const bytes of nearly(message, node, index)) {
      const heard = hear(kind, bytes, [{ name: from, nodeKey: node.public }]);
      if (heard.ok) assert.deepEqual(formatDocument(kind, heard.said.value), heard.said.payload);
      else assert.ok(heard.why.length < 2000);
    }
  }
});

test('the rounds of a ceremony throw CEREMONY_FAILED and nothing else', async () => {
  const party = await begin(2, 3);
  const dealing = await begin(2, 3, { mode: 'dealer' });
  const first = await round1(party);
  const second = await round2(first);
  const third = await round3(second);
  const beta = party.holders[1]!.node;
  const opening = await signed(party.initiator, OPENING.payloadType, party.ceremony.payload);
  for await (const bytes of nearly(opening, party.initiator, 20))
    await only('CEREMONY_FAILED', () => readCeremony(bytes, [party.initiator.public]));
  for await (const bytes of nearly(first[1]!.message, beta, 21))
    await only('CEREMONY_FAILED', () => dkgRound2(first[0]!, messagesOf(first).with(1, bytes), random));
  for await (const bytes of nearly(second[1]!.message, beta, 22))
    await only('CEREMONY_FAILED', () => dkgRound3(second[0]!, messagesOf(second).with(1, bytes)));
  for await (const bytes of nearly(third[1]!.message, beta, 23))
    await only('CEREMONY_FAILED', () => finishCeremony(third[0]!, messagesOf(third).with(1, bytes)));
  const dealtMessage = await deal(dealing.ceremony, dealing.initiator, null, random);
  for await (const bytes of nearly(dealtMessage, dealing.initiator, 24))
    await only('CEREMONY_FAILED', () => acceptDeal(dealing.ceremony, dealing.holders[0]!, bytes));
  const group = encodeGroup(finishCeremony(third[0]!, messagesOf(third)).group);
  const below = randomFrom(25);
  for (let run = 0; run < RUNS; run++) await only('CEREMONY_FAILED', () => decodeGroup(mutate([group], below)));
});

test('a holder answers any message with shares, commitments or a refusal; a coordinator gets a signature from the others', async () => {
  const party = await begin(2, 3);
  const shares = await generate(party);
  const coordinator = makeNode();
  const messages = [toUtf8('m')];
  // A clock that runs: sessions of the runs before are forgotten.
  let now = 0;
  const all = shares.map((share) => holderOf(party, share, coordinator, { now: () => (now += 30_000) }));
  const heardByBeta: Uint8Array[] = [];
  const channels = all.map((holder, at) => channelTo(shares[at]!.holder.name, holder));
  const tapped = { name: 'beta', ask: (message: Uint8Array) => (heardByBeta.push(message), all[1]!.answer(message)) };
  const options = { group: shares[0]!.group, name: 'k', use: party.ceremony.use, coordinator, random, patienceMilliseconds: 20_000 };
  await frostKey({ ...options, holders: [channels[0]!, tapped] }).signAll(messages, requestOf(messages));

  const kinds = [COMMITMENTS, SHARES, REFUSAL].map((one) => one.payloadType);
  for (const [index, original] of heardByBeta.entries())
    for await (const bytes of nearly(original, coordinator, 30 + index))
      assert.ok(kinds.includes(payloadTypeOf(await all[1]!.answer(bytes)) ?? ''));

  const below = randomFrom(40);
  for (let run = 0; run < 30; run++) {
    const step = run % 2;
    let asked = 0;
    const broken = {
      name: 'alpha',
      ask: async (message: Uint8Array) => {
        const answer = await all[0]!.answer(message);
        if (asked++ !== step) return answer;
        const { payloadType, payload } = parseEnvelope(answer);
        return run % 4 < 2 ? mutate([answer], below) : await signed(party.holders[0]!.node, payloadType, mutate([payload], below));
      },
    };
    const { signatures } = await frostKey({ ...options, holders: [broken, channels[1]!, channels[2]!] }).signAll(
      messages,
      requestOf(messages),
    );
    assert.equal(signatures.length, 1);
  }
});
