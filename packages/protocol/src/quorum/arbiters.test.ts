import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { COORDINATOR, sampleBuilder, samplePolicy } from '../policy/samples.ts';
import { type Claim, outputsDigest } from './claim.ts';
import { type ArbiterVote, decideQuorum, type QuorumInput } from './decide.ts';
import type { Decision } from './decision.ts';
import { claim, DEFINITION, outputs, vote } from './samples.ts';

const [A, B, C, D, E] = [11, 12, 13, 14, 15] as const;
const [X, Y, Z] = [41, 42, 43] as const;
const policy = samplePolicy();
const digestOfGood = outputsDigest(outputs());
const digestOfBad = outputsDigest(outputs('bad'));
const good = (signer: number): Claim => claim(signer);
const bad = (signer: number): Claim => claim(signer, { outputs: outputs('bad') });

function decide(claims: readonly Claim[], votes: readonly ArbiterVote[] = [], more: Partial<QuorumInput> = {}): Decision {
  return decideQuorum({ policy, definition: DEFINITION, claims, round: null, votes, ...more });
}

function dispute(claims = [good(A), good(B), bad(C), bad(D)]): { claims: Claim[]; id: string | null } {
  return { claims, id: decide(claims).dispute };
}

test('decideQuorum resolves a dispute by a threshold of arbiters, and says who and why', () => {
  const { claims, id } = dispute();
  for (const digest of [digestOfGood, digestOfBad]) {
    const decision = decide(claims, [vote(Y, id, digest), vote(X, id, digest)]);
    assert.deepEqual([decision.result, decision.accepted], ['resolved', digest]);
    assert.deepEqual(decision.resolution, { arbiters: ['x', 'y'], reasons: ['looked at it, says 41', 'looked at it, says 42'] });
    assert.equal(decision.dispute, id);
  }
  const rejected = decide(claims, [vote(X, id, null), vote(Z, id, null)]);
  assert.deepEqual([rejected.result, rejected.accepted, rejected.resolution?.arbiters], ['rejected', null, ['x', 'z']]);
});

test('decideQuorum stays disputed below the threshold of arbiters', () => {
  const { claims, id } = dispute();
  for (const [what, votes] of Object.entries({
    'one alone': [vote(X, id, digestOfGood)],
    'one twice': [vote(X, id, digestOfGood), vote(X, id, digestOfGood)],
    'two that do not say the same': [vote(X, id, digestOfGood), vote(Y, id, digestOfBad)],
    'one for a result, one for none': [vote(X, id, digestOfGood), vote(Y, id, null)],
    'another dispute': [vote(X, 'a'.repeat(64), digestOfGood), vote(Y, 'a'.repeat(64), digestOfGood)],
    'one of another dispute': [vote(X, id, digestOfGood), vote(Y, 'a'.repeat(64), digestOfGood)],
    'builders, coordinators and strangers': [A, B, C, COORDINATOR, 91, 92].map((one) => vote(one, id, digestOfGood)),
    'one arbiter and all others': [A, B, COORDINATOR, 91, X].map((one) => vote(one, id, digestOfGood)),
    'a result that nobody has': [vote(X, id, 'f'.repeat(64)), vote(Y, id, 'f'.repeat(64))],
  })) {
    const decision = decide(claims, votes);
    assert.deepEqual([decision.result, decision.accepted, decision.resolution], ['disputed', null, null], what);
  }
  assert.equal(
    decide(claims, [vote(X, id, digestOfGood), vote(Y, id, digestOfGood)], { policy: samplePolicy({ arbiters: null }) }).result,
    'disputed',
  );
});

test('decideQuorum takes no resolution over to a dispute that has changed since', () => {
  const { claims, id } = dispute();
  const votes = [vote(X, id, digestOfGood), vote(Y, id, digestOfGood)];
  assert.equal(decide(claims, votes).result, 'resolved');
  for (const [what, later] of Object.entries({
    'another dissenter': [...claims, bad(E)],
    'another who agrees': [...claims, good(E)],
    'a third result': [...claims, claim(E, { outputs: outputs('worse') })],
    'a dissenter less': claims.slice(0, 3),
    'builders that have changed sides': [good(A), good(C), bad(B), bad(D)],
  }))
    assert.equal(decide(later, votes).result, 'disputed', what);
  assert.equal(decide(claims.slice(0, 2), votes).result, 'agreed');
});

test('decideQuorum names in a dispute each builder that says two things, whichever result leads', () => {
  for (const [what, claims, more] of [
    ['a says bad too', [good(A), good(B), bad(C), bad(D)], bad(A)],
    ['c says good too', [good(A), good(B), bad(C), bad(D)], good(C)],
    ['the leader is good', [good(A), good(B), good(E), bad(C)], good(C)],
    ['the leader is bad', [bad(A), bad(B), bad(E), good(C)], bad(C)],
  ] as const) {
    const votes = [X, Y].map((one) => vote(one, decide(claims).dispute, digestOfGood));
    const later = decide([...claims, more], votes);
    assert.notEqual(later.dispute, decide(claims).dispute, what);
    assert.equal(later.result, 'disputed', what);
  }
});

test('decideQuorum counts the last word of an arbiter', () => {
  const { claims, id } = dispute();
  const changed = [vote(X, id, digestOfGood), vote(Y, id, digestOfGood), vote(X, id, digestOfBad)];
  assert.equal(decide(claims, changed).result, 'disputed');
  assert.equal(decide(claims, [...changed, vote(Y, id, digestOfBad)]).accepted, digestOfBad);
  const elsewhere = [...changed.slice(0, 2), vote(X, 'a'.repeat(64), digestOfBad)];
  assert.equal(decide(claims, elsewhere).accepted, digestOfGood, 'a word about another dispute is none about this');
});

test('decideQuorum is pending when arbiters accept what too few have made', () => {
  const { claims, id } = dispute([good(A), good(B), bad(C)]);
  const decision = decide(claims, [vote(X, id, digestOfBad), vote(Y, id, digestOfBad)]);
  assert.deepEqual([decision.result, decision.accepted], ['pending', null]);
  assert.deepEqual(decision.resolution?.arbiters, ['x', 'y']);
});

test('decideQuorum stays disputed when arbiters reach the threshold for two results at once', () => {
  const members = [X, Y, Z, 44].map((number, index) => ({ ...sampleBuilder('wxyz'.charAt(index), number) }));
  const four = samplePolicy({
    arbiters: { threshold: 2, members: members.map((one) => ({ name: one['name'] ?? '', key: one['key'] ?? '' })) },
  });
  const claims = [good(A), good(B), bad(C), bad(D)];
  const id = decide(claims, [], { policy: four }).dispute;
  const votes = [vote(X, id, digestOfGood), vote(Y, id, digestOfGood), vote(Z, id, digestOfBad), vote(44, id, digestOfBad)];
  assert.equal(decide(claims, votes, { policy: four }).result, 'disputed');
});

test('decideQuorum lets nobody overrule dissent alone, whatever and however often they vote', () => {
  const { claims, id } = dispute();
  const anyVote = fc.record({
    dispute: fc.constantFrom(id ?? '', 'a'.repeat(64)),
    accept: fc.constantFrom(digestOfGood, digestOfBad, 'f'.repeat(64), null),
  });
  fc.assert(
    fc.property(fc.constantFrom(X, Y, Z, A, COORDINATOR, 91), fc.array(anyVote, { maxLength: 8 }), (who, votes) => {
      const decision = decide(
        claims,
        votes.map((one) => vote(who, one.dispute, one.accept)),
      );
      assert.equal(decision.result, 'disputed');
    }),
    { numRuns: 300 },
  );
});
