import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { randomFrom } from '../bytes/mutation-samples.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import { CLOSING, COMMITMENT, LOG_REFERENCE, OPENING, OUTCOME, RESOLUTION, REVEAL } from '../commitment/documents.ts';
import { makeDefinition } from '../definition/definition.ts';
import { sampleLock, sampleManifest } from '../definition/samples.ts';
import { IN_TOTO_PAYLOAD } from '../dsse/envelope.ts';
import { canonicalText } from '../json/canonical.ts';
import type { Json } from '../json/parse.ts';
import { ARBITERS, COORDINATOR, samplePolicy, sampleRule } from '../policy/samples.ts';
import { outputsDigest } from './claim.ts';
import { type LoggedEntry, redecide, type Redecided, roundOf } from './redecide.ts';
import { BUILD_ID, entry, outputs, SampleRound, statementBytes } from './samples.ts';

const [A, B, C, D] = [11, 12, 13, 14] as const;
const STRANGER = 91;
const policy = samplePolicy({ rules: [sampleRule({ commitments: 'required' })] });
const KINDS = [OPENING, COMMITMENT, CLOSING, REVEAL, RESOLUTION, OUTCOME, LOG_REFERENCE];

const whole = (entries: readonly LoggedEntry[]): Redecided | null => redecide(policy, entries, BUILD_ID);
const json = (redecided: Redecided | null): string => canonicalText(JSON.parse(JSON.stringify(redecided)) as Json);
const decisionOf = (entries: readonly LoggedEntry[]): string => JSON.stringify(whole(entries)?.decision ?? null);
/** The same entries as a log that has them in this order. */
const renumbered = (entries: readonly LoggedEntry[]): LoggedEntry[] => entries.map((one, index) => ({ ...one, index }));

function agreement(): SampleRound {
  const round = new SampleRound(policy, [A, B, C, D]);
  for (const one of [A, B, C]) round.commit(one);
  round.close();
  for (const one of [A, B, C]) round.reveal(one).publish(one);
  return round;
}

const bad = { outputs: outputs('bad') };

function disagreement(): SampleRound {
  const round = new SampleRound(policy, [A, B, C]).commit(A).commit(B).commit(C, bad);
  for (const one of [A, B]) round.reveal(one).publish(one);
  round.reveal(C, bad).publish(C, bad);
  const { dispute } = whole(round.entries)?.decision ?? { dispute: null };
  for (const arbiter of [41, 42]) round.resolve(arbiter, dispute ?? '', outputsDigest(outputs()));
  return round;
}

test('redecide follows a round from the opening to an agreement', () => {
  const { entries } = agreement();
  const redecided = whole(entries);
  assert.equal(redecided?.decision.result, 'agreed', redecided?.decision.reason);
  assert.deepEqual([redecided.decision.round, redecided.decision.groups[0]?.builders], [1, ['a', 'b', 'c']]);
  assert.deepEqual(
    redecided.used,
    entries.map((one) => one.index),
  );
  assert.equal(whole([]), null);
  assert.equal(redecide(policy, entries, 'f'.repeat(64)), null);
});

test('redecide is pending until enough have revealed, and follows a disagreement to its resolution', () => {
  const { entries } = agreement();
  const results = entries.map((_, index) => whole(entries.slice(0, index + 1))?.decision.result ?? null);
  assert.deepEqual(results, [null, null, null, null, null, null, 'pending', 'pending', 'agreed', 'agreed', 'agreed']);
  const held = disagreement().entries;
  assert.deepEqual(
    [whole(held.slice(0, -2))?.decision.result, whole(held.slice(0, -1))?.decision.result, whole(held)?.decision.result],
    ['disputed', 'disputed', 'resolved'],
  );
});

test('redecide comes to the same end whatever order the entries are handed over in', () => {
  // C says two things, and D publishes what it never committed to: whose statement stands first must not depend on the order.
  const twofold = agreement()
    .publish(C, bad)
    .publish(D)
    .publish(C, { ...bad, invocation: 'again', ambient: { load: 1 } });
  const loose = samplePolicy();
  for (const { entries } of [agreement(), disagreement(), twofold])
    for (const one of [policy, loose]) {
      const expected = json(redecide(one, entries, BUILD_ID));
      fc.assert(
        fc.property(fc.nat(), (seed) => {
          const random = randomFrom(seed);
          const shuffled = entries.map((each) => ({ each, rank: random(1_000_000) })).sort((a, b) => a.rank - b.rank);
          assert.equal(
            json(
              redecide(
                one,
                shuffled.map(({ each }) => each),
                BUILD_ID,
              ),
            ),
            expected,
          );
        }),
        { numRuns: 40 },
      );
    }
});

test('redecide holds a release for dissent that is late, of an earlier round or never committed', () => {
  assert.equal(whole(agreement().publish(D, bad).entries)?.decision.result, 'disputed', 'without a commitment');
  assert.equal(whole(agreement().commit(D, bad).reveal(D, bad).publish(D, bad).entries)?.decision.result, 'disputed', 'late');
  const first = new SampleRound(policy, [A, B]).commit(A).commit(B, bad).reveal(A).publish(A).reveal(B, bad).publish(B, bad);
  assert.equal(whole(first.entries)?.decision.result, 'disputed');
  const second = new SampleRound(policy, [A, C], 2, first.entries);
  for (const one of [A, C]) second.commit(one, { invocation: 'again' });
  for (const one of [A, C]) second.reveal(one, { invocation: 'again' }).publish(one, { invocation: 'again' });
  assert.deepEqual([whole(second.entries)?.decision.round, whole(second.entries)?.decision.result], [2, 'disputed']);
});

test('redecide counts a late revealer, silent until the others had agreed, only for what it committed to', () => {
  const honest = new SampleRound(policy, [A, B, C]).commit(A).commit(B).commit(C);
  for (const one of [A, B]) honest.reveal(one).publish(one);
  assert.equal(whole(honest.entries)?.decision.result, 'agreed');
  assert.deepEqual(whole(honest.reveal(C).publish(C).entries)?.decision.groups[0]?.builders, ['a', 'b', 'c']);
  // It committed to something else, waits for the others, and reveals what they have.
  const liar = new SampleRound(policy, [A, C]).commit(A).commit(C, bad).reveal(A).publish(A).reveal(C).publish(C);
  assert.equal(whole(liar.entries)?.round?.participants[1]?.state, 'out');
  assert.equal(whole(liar.entries)?.decision.result, 'pending');
});

test('redecide never counts a builder that copies what another has revealed', () => {
  const sample = new SampleRound(policy, [A, B]).commit(A);
  sample.commit(B, {}, sample.commitment(A)).reveal(A).publish(A);
  for (const entries of [
    sample.reveal(B, {}, A).publish(B, {}, A).entries,
    new SampleRound(policy, [A, B]).commit(A).reveal(A).publish(A).commit(B).reveal(B).publish(B).entries,
    new SampleRound(policy, [A, B]).commit(A).publish(A).commit(B).reveal(B).publish(B).entries,
  ]) {
    const decision = whole(entries)?.decision;
    assert.equal(decision?.result, 'pending');
    assert.equal(decision.builders.find((one) => one.name === 'b')?.state, 'not counted');
  }
});

const otherPolicy = samplePolicy({ name: 'another' });
const otherDefinition = makeDefinition({ ...sampleManifest(), version: '1.1' }, sampleLock());

/** Documents that may be in the log and change nothing; their indexes come later. */
function hostile(): LoggedEntry[] {
  const everybody = [A, COORDINATOR, ARBITERS[0], STRANGER];
  const found: LoggedEntry[] = [];
  for (const signer of everybody)
    for (const { payloadType } of [...KINDS, { payloadType: IN_TOTO_PAYLOAD }])
      for (const text of [
        '',
        '{',
        '{}',
        'null',
        '[]',
        '"\\ud800"',
        '{"__proto__":1}',
        '{"schema":"lockstep-opening/v1"}',
        '[['.repeat(500),
      ])
        found.push(entry(0, signer, payloadType, toUtf8(text)));
  found.push(entry(0, A, IN_TOTO_PAYLOAD, Uint8Array.of(0xff, 0xfe)));
  // Openings: by those who are no coordinators, with higher numbers; by the coordinator, of a round that comes to nothing.
  for (const signer of [A, B, C, ...ARBITERS, STRANGER]) found.push(new SampleRound(policy, [A, B, C, D], 7, [], signer).opening);
  found.push(new SampleRound(otherPolicy, [A], 9).opening);
  // A second opening of the number that there is.
  found.push(new SampleRound(policy, [B], 1).opening);
  // Strangers who take part, and votes of those who are no arbiters.
  const strange = agreement();
  const before = strange.entries.length;
  strange.commit(STRANGER).close(STRANGER).close(A).reveal(STRANGER).publish(STRANGER, bad).resolve(STRANGER, 'a'.repeat(64), null);
  strange.resolve(A, 'a'.repeat(64), null).commit(STRANGER, {}, strange.commitment(A));
  found.push(...strange.entries.slice(before));
  // Statements about another definition, and not in canonical form, and with a type that only looks right.
  found.push(entry(0, D, IN_TOTO_PAYLOAD, statementBytes({ definition: otherDefinition })));
  for (const { payloadType, payload } of agreement().entries.slice(0, 4)) {
    found.push(entry(0, COORDINATOR, payloadType, toUtf8(` ${Buffer.from(payload).toString()}`)));
    found.push(entry(0, COORDINATOR, `${payloadType} `, payload), entry(0, COORDINATOR, payloadType.toUpperCase(), payload));
  }
  return found;
}

test('redecide is not changed by hostile documents, wherever in the log they stand', () => {
  for (const { entries } of [agreement(), disagreement()]) {
    const expected = decisionOf(entries);
    for (const one of hostile()) {
      const second = one.payloadType === OPENING.payloadType && one.signer === entries[0]?.signer;
      // A second opening of one number is ignored: the first one stands.
      for (const at of second ? [1, entries.length] : [0, 3, entries.length]) {
        const shown = `${one.payloadType} at ${at}: ${Buffer.from(one.payload).toString().slice(0, 120)}`;
        assert.equal(decisionOf(renumbered([...entries.slice(0, at), one, ...entries.slice(at)])), expected, shown);
      }
    }
  }
});

test('redecide is not changed by all hostile documents at once, in random places', () => {
  const { entries } = agreement();
  const expected = decisionOf(entries);
  const others = hostile().filter((one) => one.payloadType !== OPENING.payloadType || one.signer !== entries[0]?.signer);
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const random = randomFrom(seed);
      const mixed = [...entries];
      for (const one of others) mixed.splice(random(mixed.length + 1), 0, one);
      assert.equal(decisionOf(renumbered(mixed)), expected);
    }),
    { numRuns: 10 },
  );
});

test('redecide lists no document of a stranger among what the decision was made of', () => {
  const sample = agreement();
  const { length } = sample.entries;
  sample.resolve(STRANGER, 'a'.repeat(64), null).commit(STRANGER).close(STRANGER).reveal(STRANGER);
  assert.deepEqual(
    whole(sample.entries)?.used.filter((one) => one >= length),
    [],
  );
});

test('roundOf takes the opening with the highest number, and of one number the first', () => {
  const first = new SampleRound(policy, [A, B]);
  const again = new SampleRound(policy, [C, D], 1, first.entries);
  assert.deepEqual(
    roundOf(policy, again.entries, BUILD_ID)?.participants.map((one) => one.builder),
    ['builder-11', 'builder-12'],
  );
  const next = new SampleRound(policy, [C, D], 2, again.entries);
  const old = new SampleRound(policy, [A], 1, next.entries);
  assert.equal(roundOf(policy, old.entries, BUILD_ID)?.digest, next.opening.digest);
  assert.equal(roundOf(policy, [], BUILD_ID), null);
  assert.equal(roundOf(otherPolicy, old.entries, BUILD_ID)?.digest, next.opening.digest, 'a newer policy takes nothing back');
  assert.equal(roundOf(policy, old.entries, 'f'.repeat(64)), null, 'opened for another build');
});

test('redecide takes no commitment over from one round into another', () => {
  const first = new SampleRound(policy, [A, B]).commit(A).commit(B);
  const second = new SampleRound(policy, [A, B], 2, first.entries);
  for (const one of [A, B]) second.reveal(one).publish(one);
  assert.equal(whole(second.entries)?.decision.result, 'pending');
  // Documents that name the first opening, after the second: an opening takes nothing back.
  const mixed = [
    ...new SampleRound(policy, [A, B], 2, first.entries).entries,
    ...first.reveal(A).reveal(B).publish(A).publish(B).entries.slice(3),
  ];
  const decided = whole(renumbered(mixed));
  assert.deepEqual([decided?.decision.result, decided?.decision.round], ['agreed', 1]);
});

test('redecide counts a repeated document once, at its first place: an old vote that is logged again is no last word', () => {
  const sample = disagreement();
  const dispute = whole(sample.entries)?.decision.dispute ?? '';
  const accept = whole(sample.entries)?.decision.groups[0]?.digest ?? '';
  for (const arbiter of ARBITERS) sample.resolve(arbiter, dispute, accept);
  const old = sample.entries.slice(-ARBITERS.length);
  assert.equal(whole(sample.entries)?.decision.result, 'resolved');
  for (const arbiter of ARBITERS) sample.resolve(arbiter, dispute, null);
  assert.equal(whole(sample.entries)?.decision.result, 'rejected');
  assert.equal(whole(renumbered([...sample.entries, ...old]))?.decision.result, 'rejected');
});

test('redecide knows no round of another log: there its documents could stand in another order', () => {
  const { entries } = agreement();
  assert.equal(whole(entries)?.decision.result, 'agreed');
  assert.equal(whole(entries.map((one) => ({ ...one, origin: 'log.example/other' })))?.decision.result, 'pending');
});
