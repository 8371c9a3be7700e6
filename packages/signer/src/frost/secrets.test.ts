/** Searches everything that leaves a holder, or is told, for the secrets of a ceremony and of a session. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519, ed25519_FROST } from '@noble/curves/ed25519.js';
import { sha256Hex } from '@lockstep/protocol/digest/digest';
import { pae, parseEnvelope } from '@lockstep/protocol/dsse/envelope';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { acceptDeal, deal } from './dealer.ts';
import { dkgRound2, dkgRound3 } from './dkg.ts';
import { frostKey } from './frost-key.ts';
import { encodeGroup } from './group.ts';
import { hedgedRandom } from './hedged-random.ts';
import {
  begin,
  channelTo,
  finish,
  generate,
  holderOf,
  makeNode,
  messagesOf,
  random,
  requestOf,
  round1,
  round2,
  round3,
} from './samples.ts';
import { SESSION } from './session-documents.ts';
import { payloadTypeOf } from './signed-message.ts';
import { encodeShare } from './share-file.ts';

/** Bytes in a row that count as found: what is left of a scalar is then still out of reach, and chance finds none. */
const WINDOW = 10;

/** The bytes themselves, and whatever is base64 within them, however deep; the innermost also from the middle of a group of four. */
function layersOf(bytes: Uint8Array): Buffer[] {
  const all = [Buffer.from(bytes)];
  const shifted: Buffer[] = [];
  for (const one of all)
    for (const [run] of one.toString('latin1').matchAll(/[A-Za-z0-9+/_-]{16,}={0,2}/g)) {
      if (/^[0-9a-f]+$/.test(run)) continue;
      all.push(Buffer.from(run, 'base64'));
      for (const shift of [1, 2, 3]) shifted.push(Buffer.from(run.slice(shift), 'base64'));
    }
  return [...all, ...shifted];
}

function holds(bytes: Uint8Array, secret: Uint8Array): boolean {
  return layersOf(bytes).some((layer) => {
    const text = layer.toString('latin1').toLowerCase();
    for (let at = 0; at + WINDOW <= secret.length; at++) {
      const window = Buffer.from(secret.subarray(at, at + WINDOW));
      if (layer.includes(window) || text.includes(window.toString('hex'))) return true;
      if ([',', ', '].some((between) => text.includes([...window].join(between)))) return true;
    }
    return text.includes(BigInt(`0x${Buffer.from(secret).toString('hex')}`).toString());
  });
}

function assertNone(places: readonly Uint8Array[], secrets: readonly Uint8Array[]): void {
  for (const secret of secrets) {
    assert.ok(secret.length === 32 && secret.some((byte) => byte !== 0), 'a secret to search for');
    for (const place of places) assert.ok(!holds(place, secret));
  }
}

test('the search finds a share in the share file, in each of the spellings', async () => {
  const [share] = await generate(await begin(2, 2));
  const secret = share!.secret();
  assert.ok(holds(encodeShare(share!), secret));
  const base64 = Buffer.from(`x${Buffer.from(secret).toString('base64')}`).toString('base64');
  for (const text of [Buffer.from(secret).toString('hex').toUpperCase(), base64, JSON.stringify([...secret]), secret.join(', ')])
    assert.ok(holds(toUtf8(text), secret), text);
  assert.ok(!holds(encodeGroup(share!.group), secret));
});

test('no message of a ceremony, and no group file, has a byte run of a coefficient, a dealt share or a share', async () => {
  const { Fn } = ed25519_FROST.utils;
  const party = await begin(2, 3);
  const first = await round1(party);
  const coefficients = first.flatMap((one) => one.secret().coefficients!.map((scalar) => Fn.toBytes(scalar)));
  const second = await round2(first);
  const dealtShares = second.flatMap((one) => Object.values(one.secret().round2Cache!).map((part) => part.signingShare));
  assert.equal(dealtShares.length, 6);
  const third = await round3(second);
  const shares = finish(third);
  const places = [...messagesOf(first), ...messagesOf(second), ...messagesOf(third), encodeGroup(shares[0]!.group)];
  assertNone(places, [...coefficients, ...dealtShares, ...shares.map((one) => one.secret())]);
});

test('no deal has a byte run of the key that is split, or of a share', async () => {
  const seed = random(32);
  const { scalar } = ed25519.utils.getExtendedPublicKey(seed);
  const party = await begin(2, 3, { mode: 'dealer', existing: ed25519.getPublicKey(seed) });
  const message = await deal(party.ceremony, party.initiator, seed, random);
  const states = await Promise.all(party.holders.map((one) => acceptDeal(party.ceremony, one, message)));
  const secrets = [seed, ed25519_FROST.utils.Fn.toBytes(scalar), ...states.map((one) => one.secret())];
  assertNone([message, ...messagesOf(states)], secrets);
});

test('no message, refusal, remembered id or error of a session has a byte run of a nonce or a share', async () => {
  const party = await begin(2, 3);
  const shares = await generate(party);
  const coordinator = makeNode();
  const places: Uint8Array[] = [];
  const drawn: Uint8Array[] = [];
  const sessions: Uint8Array[] = [];
  const recorded = (bytes: number): Uint8Array => {
    const one = random(bytes);
    drawn.push(Uint8Array.from(one));
    return one;
  };
  const messages = [toUtf8('one'), toUtf8('two')];
  const alpha = holderOf(party, shares[0]!, coordinator, {
    random: recorded,
    remember: (id) => Promise.resolve(void places.push(toUtf8(id))),
  });
  const beta = holderOf(party, shares[1]!, coordinator);
  const watched = {
    name: 'alpha',
    ask: async (message: Uint8Array) => {
      if (payloadTypeOf(message) === SESSION.payloadType) sessions.push(parseEnvelope(message).payload);
      const answer = await alpha.answer(message);
      // Again, and broken: what a refusal says is searched too.
      places.push(message, answer, await alpha.answer(message), await alpha.answer(message.slice(1)));
      return answer;
    },
  };
  const key = frostKey({
    group: shares[0]!.group,
    name: 'k',
    use: party.ceremony.use,
    holders: [watched, channelTo('beta', beta)],
    coordinator,
    random,
    patienceMilliseconds: 20_000,
  });
  const { signatures } = await key.signAll(messages, requestOf(messages));
  assert.equal(sessions.length, 1);
  const session = sha256Hex(pae(SESSION.payloadType, sessions[0]!));
  const replay = [...drawn];
  const nonces = messages.flatMap((message, index) => {
    const draw = hedgedRandom(() => replay.shift()!, session, index, message);
    const secret = { identifier: shares[0]!.holder.identifier, signingShare: Uint8Array.from(shares[0]!.secret()) };
    const made = ed25519_FROST.commit(secret, () => draw(32));
    // The very nonces of that session: their commitments are in its messages.
    assert.ok(places.some((place) => holds(place, made.commitments.hiding)));
    return [made.nonces.hiding, made.nonces.binding];
  });
  assertNone([...places, ...signatures], [...nonces, ...drawn, ...shares.map((one) => one.secret())]);
});

test('no error of a ceremony quotes a secret, also when a share that opens is wrong', async () => {
  const party = await begin(2, 3);
  const [first, other] = [await round1(party), await round1(party)];
  const second = await round2(first);
  const elsewhere = await round2(other);
  const told: Uint8Array[] = [];
  const secrets = [...second, ...elsewhere].flatMap((one) => Object.values(one.secret().round2Cache!).map((part) => part.signingShare));
  for (const attempt of [
    () => dkgRound2(first[0]!, messagesOf(other), random),
    () => dkgRound3(second[0]!, messagesOf(second).with(1, messagesOf(elsewhere)[1]!)),
    () => dkgRound3(second[0]!, messagesOf(elsewhere)),
  ])
    await assert.rejects(attempt, (error: Error) => told.push(toUtf8(`${String(error.stack)}${JSON.stringify(error)}`)) > 0);
  assertNone(told, secrets);
});
