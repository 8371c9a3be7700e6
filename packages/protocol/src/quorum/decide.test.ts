import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { randomFrom } from '../bytes/mutation-samples.ts';
import type { Round } from '../commitment/round.ts';
import { makeDefinition } from '../definition/definition.ts';
import { sampleLock, sampleManifest } from '../definition/samples.ts';
import { canonicalText } from '../json/canonical.ts';
import type { Json } from '../json/parse.ts';
import type { Policy } from '../policy/policy.ts';
import { COORDINATOR, sampleBuilder, sampleKeyId, samplePolicy, sampleRule } from '../policy/samples.ts';
import { type Claim, type ClaimedOutput, outputsDigest, readClaim } from './claim.ts';
import { type ArbiterVote, decideQuorum, type QuorumInput } from './decide.ts';
import type { Decision } from './decision.ts';
import { BUILD_ID, claim, DEFINITION, digestOf, output, outputs, SampleRound, statementBytes, vote } from './samples.ts';
import { roundOf } from './redecide.ts';

const [A, B, C, D, E, F] = [11, 12, 13, 14, 15, 16] as const;
const [X, Y, Z] = [41, 42, 43] as const;
const policy = samplePolicy();

function decide(claims: readonly Claim[], votes: readonly ArbiterVote[] = [], more: Partial<QuorumInput> = {}): Decision {
  return decideQuorum({ policy, definition: DEFINITION, claims, round: null, votes, ...more });
}

const digestOfGood = outputsDigest(outputs());
const digestOfBad = outputsDigest(outputs('bad'));
const good = (signer: number): Claim => claim(signer);
const bad = (signer: number): Claim => claim(signer, { outputs: outputs('bad') });
const stateOf = (decision: Decision, name: string): string => decision.builders.find((one) => one.name === name)?.state ?? 'not there';
const json = (decision: Decision): string => canonicalText(JSON.parse(JSON.stringify(decision)) as Json);

test('decideQuorum agrees when k independent builders have every digest of every output, in whatever order they list them', () => {
  const reversed = claim(B, { outputs: [...outputs()].reverse() });
  const decision = decide([good(A), reversed]);
  assert.equal(decision.result, 'agreed', decision.reason);
  assert.equal(decision.accepted, digestOfGood);
  assert.deepEqual([decision.threshold, decision.of, decision.build_id, decision.dispute], [2, 6, BUILD_ID, null]);
  assert.deepEqual(decision.groups, [{ digest: digestOfGood, builders: ['a', 'b'], independent: 2, outputs: outputs() }]);
});

const flip = (hex: string): string => (hex.startsWith('0') ? '1' : '0') + hex.slice(1);
const change = (field: 'sha256' | 'sha512' | 'blake2b512'): ClaimedOutput[] =>
  outputs().map((one) => (one.name === 'other' ? { ...one, [field]: flip(one[field]) } : one));

for (const [what, theirs] of Object.entries({
  'one SHA-256 of one output': change('sha256'),
  'one SHA-512 of one output': change('sha512'),
  'only one BLAKE2b-512': change('blake2b512'),
  'an output more': [...outputs(), output('third', '')],
  'an output less': outputs().slice(0, 1),
  'the name of an output': outputs().map((one) => (one.name === 'other' ? { ...one, name: 'Other' } : one)),
  'two outputs that have changed names': [{ ...output('hello', 'the same everywhere') }, { ...output('other', 'good') }],
  'one output twice': [...outputs(), output('other', 'the same everywhere')],
}))
  test(`decideQuorum is disputed if they differ in ${what}`, () => {
    const decision = decide([good(A), good(B), good(C), claim(D, { outputs: theirs })]);
    assert.equal(decision.result, 'disputed');
    assert.equal(decision.accepted, null);
    assert.equal(decision.groups.length, 2);
    assert.match(decision.dispute ?? '', /^[0-9a-f]{64}$/);
  });

test('decideQuorum names who has which value, null for an output that is not there', () => {
  const [hello] = outputs();
  assert.ok(hello !== undefined);
  assert.deepEqual(decide([good(A), good(B), claim(C, { outputs: [hello] })]).differences, [
    {
      output: 'other',
      values: [
        { sha256: output('other', 'the same everywhere').sha256, builders: ['a', 'b'] },
        { sha256: null, builders: ['c'] },
      ],
    },
  ]);
});

test('decideQuorum counts independent domains, not builders', () => {
  const builders = [
    sampleBuilder('a', A, 'Org 1', 'berlin'),
    sampleBuilder('b', B, 'Org 1', 'oslo'),
    sampleBuilder('c', C, 'Org 2', 'berlin'),
    sampleBuilder('d', D, 'Org 2', 'oslo'),
  ];
  const withDomains = samplePolicy({ builders });
  const result = (...signers: readonly number[]): [string, number | undefined] => {
    const decision = decide(signers.map(good), [], { policy: withDomains });
    return [decision.result, decision.groups[0]?.independent];
  };
  assert.deepEqual(result(A, B), ['pending', 1], 'the same operator at another site');
  assert.deepEqual(result(A, C), ['pending', 1], 'another operator at the same site');
  assert.deepEqual(result(A, D), ['agreed', 2]);
  assert.deepEqual(result(A, B, C), ['agreed', 2]);
  const four = { builders: [...builders, sampleBuilder('e', E)], rules: [sampleRule({ quorum: 3 })] };
  assert.equal(decide([A, B, C, D].map(good), [], { policy: samplePolicy(four) }).result, 'pending');
});

test('decideQuorum has the builders of the policy for a denominator, whoever answers, and takes no others', () => {
  for (const claims of [[], [good(A)], [good(A), good(B)], [good(A), good(91), good(92), good(COORDINATOR), good(X)]]) {
    const decision = decide(claims);
    assert.equal(decision.of, 6);
    assert.equal(decision.builders.length, 6);
    assert.equal(decision.result, claims.length === 2 ? 'agreed' : 'pending');
  }
  assert.equal(decide([good(A), good(B), bad(91)]).result, 'agreed', 'a stranger holds nothing');
});

test('decideQuorum is pending with one of two, with nothing, and with the same builder twice', () => {
  assert.equal(decide([]).result, 'pending');
  assert.equal(decide([good(A)]).result, 'pending');
  assert.equal(decide([good(A), good(A), claim(A, { invocation: 'again' })]).result, 'pending');
  assert.deepEqual([decide([good(A)]).accepted, decide([good(A)]).groups[0]?.independent], [null, 1]);
});

test('decideQuorum ignores statements about another definition', () => {
  const manifest = { ...sampleManifest(), version: '1.1' };
  const other = decide([good(A), good(B)], [], { definition: makeDefinition(manifest, sampleLock()) });
  assert.equal(other.result, 'pending');
  assert.equal(other.builders.filter((one) => one.state === 'absent').length, 6);
});

test('decideQuorum never outvotes dissent: five against one is disputed', () => {
  const decision = decide([good(A), good(B), good(C), good(D), good(E), bad(F)]);
  assert.equal(decision.result, 'disputed');
  assert.deepEqual(
    decision.groups.map((one) => [one.independent, one.builders.join('')]),
    [
      [5, 'abcde'],
      [1, 'f'],
    ],
  );
});

test('decideQuorum is disputed by a builder that says two things, in either order', () => {
  for (const claims of [
    [good(A), good(B), bad(B)],
    [good(A), bad(B), good(B), good(C)],
    [bad(A), good(A), good(B), good(C)],
  ])
    assert.equal(decide(claims).result, 'disputed');
  const twice = decide([good(A), bad(A)]);
  assert.equal(twice.result, 'disputed', 'one builder against itself');
  assert.equal(Math.max(...twice.groups.map((one) => one.independent)), 1);
});

const strict = samplePolicy({ rules: [sampleRule({ commitments: 'required' })] });
const roundFor = (sample: SampleRound): Round | null => roundOf(strict, sample.entries, BUILD_ID);
const committed = (...signers: readonly number[]): SampleRound => {
  const sample = new SampleRound(strict, [A, B, C, D]);
  for (const signer of signers) sample.commit(signer);
  sample.close();
  for (const signer of signers) sample.reveal(signer);
  return sample;
};

test('decideQuorum counts nothing without a round where the policy asks for commitments', () => {
  const decision = decide([good(A), good(B)], [], { policy: strict });
  assert.equal(decision.result, 'pending');
  assert.equal(stateOf(decision, 'a'), 'not counted');
  assert.equal(stateOf(decision, 'c'), 'absent');
});

test('decideQuorum counts only the statement that was committed to and revealed', () => {
  const round = roundFor(committed(A, B));
  assert.equal(decide([good(A), good(B)], [], { policy: strict, round }).result, 'agreed');
  // The same outputs in another statement: it is not the one that was revealed, and it differs in nothing.
  const another = decide([good(A), claim(B, { invocation: 'another' })], [], { policy: strict, round });
  assert.deepEqual([another.result, stateOf(another, 'b')], ['pending', 'absent']);
  const silent = decide([good(A), good(B), good(C)], [], { policy: strict, round });
  assert.deepEqual([stateOf(silent, 'c'), stateOf(silent, 'e')], ['absent', 'absent']);
  assert.equal(silent.groups[0]?.independent, 2);
});

test('decideQuorum is disputed by dissent that was late, not on the roster, never committed or of an earlier round', () => {
  const round = roundFor(committed(A, B));
  for (const signer of [C, D, E]) assert.equal(decide([good(A), good(B), bad(signer)], [], { policy: strict, round }).result, 'disputed');
  const late = roundFor(committed(A, B).commit(C).reveal(C));
  const held = decide([good(A), good(B), bad(C)], [], { policy: strict, round: late });
  assert.deepEqual([held.result, stateOf(held, 'c')], ['disputed', 'not counted']);
  // What b said in the first round differs from what it says in the second.
  const earlier = claim(B, { outputs: outputs('bad'), invocation: 'in round 1' });
  const second = roundFor(new SampleRound(strict, [A, B], 2).commit(A).commit(B).reveal(A).reveal(B));
  assert.equal(second?.opening.round, 2);
  assert.equal(decide([earlier, good(A), good(B)], [], { policy: strict, round: second }).result, 'disputed');
});

test('decideQuorum gives dissent that is not counted no weight of its own', () => {
  const round = roundFor(committed(A, B));
  const decision = decide([good(A), good(B), bad(C), bad(D), bad(E), bad(F)], [], { policy: strict, round });
  assert.deepEqual(
    decision.groups.map((one) => [one.digest, one.independent]),
    [
      [digestOfGood, 2],
      [digestOfBad, 0],
    ],
  );
  const { dispute } = decision;
  const resolved = decide(
    [good(A), good(B), bad(C), bad(D), bad(E), bad(F)],
    [vote(X, dispute, digestOfBad), vote(Y, dispute, digestOfBad)],
    {
      policy: strict,
      round,
    },
  );
  assert.equal(resolved.result, 'pending', 'arbiters do not stand in for builders');
  assert.equal(resolved.accepted, null);
});

test('decideQuorum refuses a package without a rule, a source that is not trusted and an environment that is not pinned', () => {
  const refused = (change: Json, more: Partial<QuorumInput> = {}): Decision =>
    decide([good(A), good(B)], [], { policy: samplePolicy({ rules: [change] }), ...more });
  const none = refused(sampleRule({ packages: 'other-*' }));
  assert.deepEqual([none.result, none.rule, none.threshold, none.accepted], ['refused', null, 0, null]);
  assert.equal(refused(sampleRule({ sources: ['git+https://host.example/other*'] })).result, 'refused');
  assert.equal(refused(sampleRule({ sources: ['git+https://host.example/hello.git#refs/tags/*'] })).result, 'agreed');
  const lock = { ...sampleLock(), environment: { kind: 'host' as const } };
  const host = refused(sampleRule(), { definition: makeDefinition(sampleManifest(), lock) });
  assert.equal(host.result, 'refused');
  assert.match(host.reason, /not pinned/);
});

test('decideQuorum lets the first rule that fits decide', () => {
  const rules = [sampleRule({ packages: 'hel*', quorum: 3 }), sampleRule()];
  const decision = decide([good(A), good(B)], [], { policy: samplePolicy({ rules }) });
  assert.deepEqual([decision.result, decision.rule, decision.threshold], ['pending', 1, 3]);
});

test('decideQuorum waits for the variations that the policy asks for', () => {
  const varied = samplePolicy({ rules: [sampleRule({ variations: ['clock', 'kernel'] })] });
  const at = (signer: number, ambient: Record<string, Json>): Claim => claim(signer, { ambient });
  const one = decide([good(A), at(B, { clock: 5 })], [], { policy: varied });
  assert.deepEqual([one.result, one.variations], ['pending', { required: ['clock', 'kernel'], covered: ['clock'], missing: ['kernel'] }]);
  assert.equal(decide([at(A, { clock: 5, kernel: '2.6' }), at(B, { clock: 5, kernel: '2.6' })], [], { policy: varied }).result, 'pending');
  assert.equal(decide([at(A, { clock: 5 }), at(B, { kernel: '2.6' })], [], { policy: varied }).result, 'agreed');
});

test('decideQuorum says when a domain that counts is simulated', () => {
  const simulated = (name: string): Policy =>
    samplePolicy({
      builders: [A, B, C].map((one, index) => {
        const each = 'abc'.charAt(index);
        return sampleBuilder(each, one, `Org ${each}`, `site-${each}`, { simulated: each === name });
      }),
    });
  const decision = decide([good(A), good(B)], [], { policy: simulated('b') });
  assert.equal(decision.simulated, true);
  assert.ok(decision.notes.some((one) => one.includes('simulated')));
  assert.equal(decide([good(A), good(B)], [], { policy: simulated('c') }).simulated, false);
});

test('decideQuorum gives the same bytes for the same facts in any order', () => {
  const contents = ['good', 'bad', 'worse'];
  const pool = new Map(
    [A, B, C, D, E, F, 91].flatMap((signer) =>
      contents.flatMap((content) =>
        [0, 1].map((clock) => [
          `${signer} ${content} ${clock}`,
          claim(signer, { outputs: outputs(content), ambient: { clock, load: signer } }),
        ]),
      ),
    ),
  );
  const results = new Set<string>();
  const plan = fc.record({
    said: fc.array(fc.tuple(fc.constantFrom(...contents, 'good', 'good'), fc.nat(1), fc.boolean()), { minLength: 7, maxLength: 7 }),
    votes: fc.array(fc.tuple(fc.constantFrom(X, Y, Z, A), fc.nat(3)), { maxLength: 4 }),
    seed: fc.nat(),
  });
  fc.assert(
    fc.property(plan, ({ said, votes, seed }) => {
      const claims = said.flatMap(([content, clock, there], index) => {
        const found = pool.get(`${[A, B, C, D, E, F, 91][index]} ${content} ${clock}`);
        return there && found !== undefined ? [found] : [];
      });
      const first = decide(claims);
      const accepts = [...first.groups.map((one) => one.digest), null, null, null, null];
      // One vote each: of two, the later one counts.
      const each = new Map(votes.map(([who, which]) => [who, vote(who, first.dispute, accepts[which] ?? null)]));
      const once = decide(claims, [...each.values()]);
      const other = decide(shuffled(claims, seed), shuffled([...each.values()], seed + 1));
      assert.equal(json(other), json(once));
      results.add(once.result);
    }),
    { numRuns: 500 },
  );
  assert.deepEqual([...results].sort(), ['agreed', 'disputed', 'pending', 'rejected', 'resolved']);
});

function shuffled<T>(values: readonly T[], seed: number): T[] {
  const random = randomFrom(seed);
  return values
    .map((value) => ({ value, rank: random(1_000_000) }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ value }) => value);
}

test('readClaim takes nothing that is no statement of a build', () => {
  const payload = statementBytes();
  assert.notEqual(readClaim(payload, digestOf(A), sampleKeyId(A)), null);
  for (const bytes of [new Uint8Array(0), payload.subarray(1), payload.subarray(0, -1), new TextEncoder().encode('{}')])
    assert.equal(readClaim(bytes, digestOf(A), sampleKeyId(A)), null);
});
