import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { toUtf8 } from '../bytes/utf8.ts';
import { type Sha256, sha256Hex } from '../digest/digest.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { COORDINATOR, sampleBuilder, sampleKeyId, samplePem, samplePolicy } from '../policy/samples.ts';
import { commitmentOf } from './commit.ts';
import type { Opening } from './documents.ts';
import { advance, openRound, type Round, type RoundEvent } from './round.ts';

const [A, B, C, STRANGER] = [11, 12, 13, 91] as const;
const ROSTER = [A, B, C] as const;
const hash = (text: string): Sha256 => sha256Hex(toUtf8(text));
const OPENING_DIGEST = hash('opening');
const OTHER_OPENING = hash('another opening');
const BUILD_ID = hash('build id');
const OPENED_AT = 2;
const coordinators = new Set<string>([sampleKeyId(COORDINATOR)]);

const opening: Opening = {
  schema: 'lockstep-opening/v1',
  build_id: BUILD_ID,
  round: 1,
  policy: { version: 1, sha256: hash('policy') },
  log: 'log.example/farm',
  commit_by: '2026-01-01T00:00:00Z',
  roster: ROSTER.map((one) => ({ builder: `builder-${one}`, key: sampleKeyId(one), ambient: {} })),
};

const statement = (of: number, which = 1): Sha256 => hash(`statement ${which} of ${of}`);
const salt = (of: number): Sha256 => hash(`salt of ${of}`);
const commitment = (of: number, which = 1): Sha256 =>
  commitmentOf({ opening: OPENING_DIGEST, key: sampleKeyId(of), salt: salt(of), statement: statement(of, which) });

interface Step {
  readonly kind: RoundEvent['kind'];
  readonly signer: number;
  /** Whose commitment, or whose salt and statement. */
  readonly of?: number;
  readonly which?: number;
  /** What of the round's identity is another. */
  readonly wrong?: 'opening' | 'round' | 'build_id';
}

function eventOf(step: Step, index: number): RoundEvent {
  const { of = step.signer, which = 1, wrong } = step;
  const signer = sampleKeyId(step.signer);
  const member = {
    build_id: wrong === 'build_id' ? hash('another build id') : BUILD_ID,
    round: wrong === 'round' ? 2 : 1,
    opening: wrong === 'opening' ? OTHER_OPENING : OPENING_DIGEST,
  };
  if (step.kind === 'statement') return { kind: 'statement', index, signer, digest: statement(of, which) };
  if (step.kind === 'commitment')
    return {
      kind: 'commitment',
      index,
      signer,
      document: { schema: 'lockstep-commitment/v1', ...member, commitment: commitment(of, which) },
    };
  if (step.kind === 'closing') return { kind: 'closing', index, signer, document: { schema: 'lockstep-closing/v1', ...member } };
  return {
    kind: 'reveal',
    index,
    signer,
    document: { schema: 'lockstep-reveal/v1', ...member, statement: statement(of, which), salt: salt(of) },
  };
}

function run(steps: readonly Step[], from = OPENED_AT + 1): Round {
  return steps.reduce(
    (round, step, at) => advance(round, eventOf(step, from + at), coordinators),
    openRound(opening, OPENING_DIGEST, OPENED_AT),
  );
}

/** What a builder is in the end, and what it counts for. */
function stateOf(round: Round, who: number): string {
  const found = round.participants.find((one) => one.key === sampleKeyId(who));
  if (found === undefined) return 'not on the roster';
  return found.state === 'revealed' ? `revealed ${found.statement}` : found.state;
}

/**
 * The rules a second time, not step by step but looking at the whole log: when did the time for commitments end, and then
 * for each builder all that it did before and after.
 */
function model(steps: readonly Step[], from: number): { closedAt: number | null; states: string[] } {
  const events = steps
    .map((step, at) => ({ ...step, of: step.of ?? step.signer, which: step.which ?? 1, index: from + at }))
    .filter((one) => one.index > OPENED_AT && (one.kind === 'statement' || one.wrong === undefined));
  const by = (who: number) => events.filter((one) => one.signer === who);
  const firstCommitment = (who: number): number => by(who).find((one) => one.kind === 'commitment')?.index ?? Number.POSITIVE_INFINITY;
  const allCommitted = Math.max(...ROSTER.map(firstCommitment));
  const ends = events
    .filter(
      (one) =>
        (one.kind === 'closing' && one.signer === COORDINATOR) ||
        one.kind === 'statement' ||
        (one.kind === 'reveal' && ROSTER.some((who) => who === one.signer)),
    )
    .map((one) => one.index);
  const closedAt = Math.min(allCommitted, ...ends);
  const states = ROSTER.map((who) => {
    const mine = by(who);
    const commitments = mine.filter((one) => one.kind === 'commitment');
    const first = commitments[0];
    const early = mine.some((one) => (one.kind === 'reveal' || one.kind === 'statement') && one.index <= closedAt);
    const late = first !== undefined && first.index > closedAt;
    // What it says after it has revealed takes nothing back.
    const revealedAt = mine.find(
      (one) => one.kind === 'reveal' && one.index > closedAt && one.of === who && first?.of === who && first.which === one.which,
    )?.index;
    const twice = commitments.some(
      (one) => one.index < (revealedAt ?? Number.POSITIVE_INFINITY) && (one.of !== first?.of || one.which !== first.which),
    );
    if (early || late || twice) return 'out';
    const reveal = mine.find((one) => one.kind === 'reveal');
    if (reveal === undefined) return first === undefined ? 'waiting' : 'committed';
    const opens = first !== undefined && first.of === who && reveal.of === who && first.which === reveal.which;
    return opens ? `revealed ${statement(who, reveal.which)}` : 'out';
  });
  return { closedAt: closedAt === Number.POSITIVE_INFINITY ? null : closedAt, states };
}

const someone = fc.constantFrom(...ROSTER, ...ROSTER, ...ROSTER, COORDINATOR, STRANGER);
const anyStep: fc.Arbitrary<Step> = fc
  .record({
    // Most rounds would be over at once if reveals were as frequent as commitments.
    kind: fc.constantFrom<Step['kind'][]>(
      'commitment',
      'commitment',
      'commitment',
      'commitment',
      'reveal',
      'reveal',
      'closing',
      'statement',
    ),
    signer: someone,
    of: fc.option(fc.constantFrom(...ROSTER), { nil: undefined, freq: 6 }),
    which: fc.constantFrom(1, 1, 1, 1, 2),
    wrong: fc.option(fc.constantFrom('opening' as const, 'round' as const, 'build_id' as const), { nil: undefined, freq: 8 }),
  })
  .map(({ of, wrong, ...step }) => ({ ...step, ...(of === undefined ? {} : { of }), ...(wrong === undefined ? {} : { wrong }) }));

/** A round as it should be, into which others are mixed: pure chance seldom gets to a reveal that counts. */
const properSteps: readonly Step[] = [
  ...ROSTER.map((signer) => ({ kind: 'commitment' as const, signer })),
  { kind: 'closing', signer: COORDINATOR },
  ...ROSTER.map((signer) => ({ kind: 'reveal' as const, signer })),
];
const mixedSteps = fc
  .tuple(fc.subarray([...properSteps]), fc.array(fc.tuple(fc.nat(20), anyStep), { maxLength: 4 }))
  .map(([proper, others]) => {
    const steps = [...proper];
    for (const [at, one] of others) steps.splice(at % (steps.length + 1), 0, one);
    return steps;
  });

test('advance agrees with the rules read over the whole log', () => {
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(fc.oneof(fc.array(anyStep, { maxLength: 14 }), mixedSteps), fc.integer({ min: 0, max: OPENED_AT + 1 }), (steps, from) => {
      const round = run(steps, from);
      const expected = model(steps, from);
      const states = ROSTER.map((who) => stateOf(round, who));
      assert.deepEqual({ closedAt: round.closedAt, states }, expected);
      assert.equal(round.phase, expected.closedAt === null ? 'committing' : 'revealing');
      for (const one of round.participants) assert.equal(one.reason !== null, one.state === 'out');
      for (const state of states) seen.set(state.slice(0, 8), (seen.get(state.slice(0, 8)) ?? 0) + 1);
    }),
    { numRuns: 10_000 },
  );
  for (const state of ['waiting', 'committe', 'revealed', 'out']) assert.ok((seen.get(state) ?? 0) > 500, `${state}: ${seen.get(state)}`);
});

test('advance counts nobody for a commitment that was made when a statement of the round was public', () => {
  fc.assert(
    fc.property(fc.oneof(fc.array(anyStep, { maxLength: 14 }), mixedSteps), (steps) => {
      const round = run(steps);
      const shown = steps.findIndex(
        (one) =>
          ROSTER.some((who) => who === one.signer) && (one.kind === 'statement' || (one.kind === 'reveal' && one.wrong === undefined)),
      );
      if (shown === -1) return;
      for (const one of round.participants) if (one.state === 'revealed') assert.ok((one.committedAt ?? 0) < OPENED_AT + 1 + shown);
    }),
    { numRuns: 3000 },
  );
});

const commit = (signer: number, more: Partial<Step> = {}): Step => ({ kind: 'commitment', signer, ...more });
const reveal = (signer: number, more: Partial<Step> = {}): Step => ({ kind: 'reveal', signer, ...more });
const publish = (signer: number): Step => ({ kind: 'statement', signer });
const close = (signer: number = COORDINATOR, more: Partial<Step> = {}): Step => ({ kind: 'closing', signer, ...more });

test('advance takes a plain round to its end: the last commitment closes it', () => {
  const round = run([commit(A), commit(B), commit(C), reveal(C), publish(C), reveal(A), publish(A), reveal(B)]);
  assert.deepEqual(
    [round.closedAt, ...ROSTER.map((who) => stateOf(round, who))],
    [OPENED_AT + 3, ...ROSTER.map((who) => `revealed ${statement(who)}`)],
  );
});

test('advance never counts a builder that copies: neither another’s commitment nor what another reveals', () => {
  const steps = [commit(A), commit(B, { of: A }), commit(C), reveal(A)];
  assert.equal(stateOf(run([...steps, reveal(B, { of: A })]), B), 'out');
  assert.equal(stateOf(run([...steps, reveal(B)]), B), 'out');
  assert.equal(stateOf(run([commit(A), commit(B), commit(C), reveal(A), reveal(B, { of: A })]), B), 'out');
  assert.equal(stateOf(run([...steps, reveal(B, { of: A })]), A), `revealed ${statement(A)}`, 'the one that was copied from');
});

test('advance takes a builder out that commits twice, before or after the closing; after its reveal it takes nothing back', () => {
  assert.equal(stateOf(run([commit(A), commit(A, { which: 2 })]), A), 'out');
  assert.equal(stateOf(run([commit(A), close(), commit(A, { which: 2 }), reveal(A)]), A), 'out');
  assert.equal(stateOf(run([commit(A), close(), reveal(A), commit(A, { which: 2 })]), A), `revealed ${statement(A)}`);
  assert.equal(stateOf(run([commit(A), commit(A), close(), reveal(A)]), A), `revealed ${statement(A)}`, 'the same one again');
});

test('advance takes a builder out whose commitment is late, and one that reveals without any', () => {
  assert.equal(stateOf(run([commit(A), close(), commit(B), reveal(B)]), B), 'out');
  assert.equal(stateOf(run([commit(A), commit(B), reveal(A), commit(C)]), C), 'out');
  assert.equal(stateOf(run([commit(A), close(), reveal(B)]), B), 'out');
});

test('advance closes at an early reveal or statement, and only the one who was early is out', () => {
  for (const early of [reveal(A), publish(A)]) {
    const round = run([commit(A), commit(B), early, commit(C), reveal(B), reveal(A), reveal(C)]);
    assert.deepEqual(
      [round.closedAt, ...ROSTER.map((who) => stateOf(round, who))],
      [OPENED_AT + 3, 'out', `revealed ${statement(B)}`, 'out'],
    );
  }
  assert.equal(stateOf(run([publish(A), commit(A), commit(B), close(), reveal(A)]), A), 'out', 'published before it committed');
});

test('advance keeps a late revealer to what it committed to, and leaves a silent one uncounted', () => {
  const steps = [commit(A), commit(B), commit(C), reveal(A), reveal(B), publish(A), publish(B)];
  assert.equal(stateOf(run(steps), C), 'committed');
  assert.equal(stateOf(run([...steps, reveal(C, { which: 2 })]), C), 'out');
  assert.equal(stateOf(run([...steps, reveal(C)]), C), `revealed ${statement(C)}`);
  assert.equal(stateOf(run([...steps, reveal(C), reveal(C, { which: 2 })]), C), `revealed ${statement(C)}`, 'the first reveal stands');
  assert.equal(stateOf(run([commit(A), close(), reveal(A)]), B), 'waiting');
});

test('advance lets only a coordinator close, and only this round', () => {
  for (const step of [close(A), close(STRANGER), close(COORDINATOR, { wrong: 'opening' }), close(COORDINATOR, { wrong: 'round' })])
    assert.equal(run([commit(A), step]).phase, 'committing');
  assert.equal(run([commit(A), close(COORDINATOR, { wrong: 'build_id' })]).phase, 'committing');
  const round = run([commit(A), close(), close()]);
  assert.deepEqual([round.phase, round.closedAt], ['revealing', OPENED_AT + 2]);
});

test('advance ignores strangers, other openings and what stands before the opening', () => {
  const empty = openRound(opening, OPENING_DIGEST, OPENED_AT);
  for (const step of [
    commit(STRANGER),
    reveal(STRANGER),
    commit(COORDINATOR),
    ...(['opening', 'round', 'build_id'] as const).flatMap((wrong) => [
      commit(A, { wrong }),
      reveal(A, { wrong }),
      close(COORDINATOR, { wrong }),
    ]),
  ])
    assert.deepEqual(run([step]), empty, JSON.stringify(step));
  const off = run([commit(A), publish(STRANGER), commit(B)]);
  assert.deepEqual([off.closedAt, stateOf(off, B)], [OPENED_AT + 2, 'out'], 'a builder of the policy that is not on the roster');
  assert.deepEqual(run([commit(A), close(), publish(B)], 0), empty, 'indexes 0 to 2');
});

test('commitmentOf hides and binds each part: another opening, key, salt or statement is another commitment', () => {
  const parts = { opening: OPENING_DIGEST, key: sampleKeyId(A), salt: salt(A), statement: statement(A) };
  const all = [
    parts,
    { ...parts, opening: OTHER_OPENING },
    { ...parts, key: sampleKeyId(B) },
    { ...parts, salt: salt(B) },
    { ...parts, statement: statement(B) },
    { ...parts, salt: parts.statement, statement: parts.salt },
    { ...parts, opening: sampleKeyId(A), key: OPENING_DIGEST },
  ].map(commitmentOf);
  assert.equal(new Set(all).size, all.length);
  const bytes = Buffer.concat([toUtf8('lockstep-commitment/v1\n'), ...Object.values(parts).map((hex) => Buffer.from(hex, 'hex'))]);
  assert.equal(all[0], sha256Hex(bytes));
  assert.throws(() => commitmentOf({ ...parts, salt: 'abc' }), TypeError);
});

test('a builder under two names is none: parsePolicy refuses one key in two entries, however its PEM is written', () => {
  const pem = samplePem(A);
  const bare = pem.replace(/-----[A-Z ]+-----/g, '').replace(/\s/g, '');
  for (const spelled of [
    pem,
    `\n\n${pem}\n`,
    pem.replaceAll('\n', '\r\n'),
    `-----BEGIN PUBLIC KEY-----${bare}-----END PUBLIC KEY-----`,
    `-----BEGIN PUBLIC KEY-----\n${bare.split('').join(' ')}\n-----END PUBLIC KEY-----`,
  ]) {
    const builders = [sampleBuilder('one', A), { ...sampleBuilder('two', B), key: spelled }];
    assert.throws(
      () => samplePolicy({ builders }),
      (error) => error instanceof LockstepError && error.code === 'POLICY_INVALID' && error.message.includes('have the same key'),
      JSON.stringify(spelled),
    );
  }
});
