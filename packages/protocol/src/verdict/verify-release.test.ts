import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Bundle } from '../bundle/bundle.ts';
import { sampleEd25519Witness, sampleLogSigner, type SampleNoteSigner } from '../bundle/samples.ts';
import { mutate, randomFrom } from '../bytes/mutation-samples.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import { makeDefinition } from '../definition/definition.ts';
import { sampleLock, sampleManifest, SOURCE_REF } from '../definition/samples.ts';
import { sha256Hex } from '../digest/digest.ts';
import { IN_TOTO_PAYLOAD } from '../dsse/envelope.ts';
import { formatVerifierKey } from '../note/verifier-key.ts';
import type { Policy } from '../policy/policy.ts';
import { LOG_SIGNER, sampleBuilder, samplePolicy, sampleRule, WITNESS_ED25519, WITNESS_ML_DSA } from '../policy/samples.ts';
import { outputsDigest } from '../quorum/claim.ts';
import { type LoggedEntry, redecide } from '../quorum/redecide.ts';
import { BUILD_ID, entry, outputs, SampleRound, type StatementParts, statementBytes } from '../quorum/samples.ts';
import { named, sampleBundlesOf } from './samples.ts';
import { RELEASE_STEPS, type ReleaseInput, type ReleaseVerdict, verifyRelease } from './verify-release.ts';

const [A, B, C, D] = [11, 12, 13, 14] as const;
const STRANGER = 91;
/** When the sample witnesses cosign. */
const TIME = 1_760_000_000;
const DAY = 86_400;
const policy = samplePolicy();
const strict = samplePolicy({ rules: [sampleRule({ commitments: 'required' })] });
const bad = { outputs: outputs('bad') };

/** Statements one after the other, by number of key. */
function log(...said: readonly (number | readonly [number, StatementParts])[]): LoggedEntry[] {
  return said.map((one, index) => {
    const [signer, parts] = typeof one === 'number' ? [one, {}] : one;
    return entry(index, signer, IN_TOTO_PAYLOAD, statementBytes({ invocation: `by ${signer}`, ...parts }));
  });
}

interface More extends Partial<Omit<ReleaseInput, 'trust'>> {
  readonly policy?: Policy;
  readonly currentUntil?: number;
  readonly trust?: ReleaseInput['trust'];
}

function verify(bundles: readonly Bundle[], { policy: one = policy, currentUntil = TIME + 10 * DAY, ...more }: More = {}): ReleaseVerdict {
  return verifyRelease({
    artifact: { name: 'hello', sha256: sha256Hex(toUtf8('good')) },
    trust: { policy: one, currentUntil, root: null },
    bundles: named(bundles),
    complete: true,
    expect: {},
    now: TIME + DAY,
    ...more,
  });
}

/** Steps before it pass, it fails for that reason, and what follows is listed as unreached. */
function assertFailsAt(verdict: ReleaseVerdict, step: (typeof RELEASE_STEPS)[number], why: RegExp, what = ''): void {
  const failed = RELEASE_STEPS.indexOf(step);
  assert.equal(verdict.ok, false, what);
  assert.deepEqual(
    verdict.steps.map(({ name, state }) => [name, state]),
    RELEASE_STEPS.map((name, index) => [name, index < failed ? 'pass' : index === failed ? 'fail' : 'unreached']),
    `${what} ${JSON.stringify(verdict.steps)}`,
  );
  assert.match(verdict.steps[failed]?.detail ?? '', why, what);
}

const good = sampleBundlesOf(log(A, B));

test('verifyRelease passes every step for what two independent builders agree on in a witnessed log', () => {
  const verdict = verify(good, { expect: { source: SOURCE_REF, buildId: BUILD_ID } });
  assert.equal(verdict.ok, true, JSON.stringify(verdict.steps));
  assert.deepEqual(
    verdict.steps.map(({ name, state }) => [name, state]),
    RELEASE_STEPS.map((name) => [name, 'pass']),
  );
  assert.equal(verdict.witnessedAt, TIME);
  assert.equal(verdict.decision?.result, 'agreed');
  assert.ok(!verdict.notes.some((one) => one.includes('--log')));
  assert.ok(verify(good, { complete: false }).notes.some((one) => one.includes('--log')));
});

test('verifyRelease passes for a whole round with commitments, cosigned with ML-DSA-44 only', () => {
  const { entries } = new SampleRound(strict, [A, B]).commit(A).commit(B).reveal(A).publish(A).reveal(B).publish(B);
  assert.equal(verify(sampleBundlesOf(entries, [LOG_SIGNER, WITNESS_ML_DSA]), { policy: strict }).ok, true);
  // Without the opening, or without one reveal, nothing shows that nobody has copied.
  for (const missing of [0, 1, 3]) {
    const verdict = verify(
      sampleBundlesOf(entries).filter((_, index) => index !== missing),
      { policy: strict },
    );
    assert.equal(verdict.ok, false, String(missing));
  }
});

test('verifyRelease fails at the policy', () => {
  assertFailsAt(verify(good, { trust: 'the root expired' }), 'policy', /the root expired/);
});

test('verifyRelease fails at log-inclusion', () => {
  const [first, second] = good;
  assert.ok(first !== undefined && second !== undefined);
  const other = sampleLogSigner('log.example/other', 7);
  assertFailsAt(verify([]), 'log-inclusion', /no bundle/);
  assertFailsAt(verify([], { bundles: [{ name: 'x', bytes: toUtf8('{}') }] }), 'log-inclusion', /^x: /);
  assertFailsAt(verify(sampleBundlesOf(log(A, B), [other, WITNESS_ED25519])), 'log-inclusion', /not known/);
  for (const [what, changed] of Object.entries({
    'another place': { ...second, index: 0 },
    'no proof': { ...second, proof: [] },
    'another root': { ...second, root: new Uint8Array(32) },
    'another size': { ...second, treeSize: 3 },
    'the payload of another': { ...second, payload: first.payload },
    'the entry of another': { ...second, entry: first.entry },
    'the signature of another': { ...second, signature: first.signature },
    'another payload type': { ...second, payloadType: 'application/json' },
    'the checkpoint of another tree': { ...second, checkpoint: sampleBundlesOf(log(A, C))[0]?.checkpoint ?? '' },
    'a checkpoint without the log’s signature': {
      ...second,
      checkpoint: sampleBundlesOf(log(A, B), [WITNESS_ED25519])[0]?.checkpoint ?? '',
    },
  }))
    assertFailsAt(verify([first, changed]), 'log-inclusion', /^\d\.sigstore\.json: /, what);
});

test('verifyRelease fails at log-inclusion when the order of the entries is not known, or the log shows two histories', () => {
  const other = sampleLogSigner('log.example/other', 7);
  const logs = [LOG_SIGNER, other].map((one) => ({ key: formatVerifierKey(one.key), operator: 'Org log', site: 'site-log' }));
  const both = [...sampleBundlesOf(log(A)), ...sampleBundlesOf(log(B), [other, WITNESS_ED25519])];
  assertFailsAt(verify(both, { policy: samplePolicy({ logs }) }), 'log-inclusion', /different logs/);
  const forked = [...good, ...sampleBundlesOf(log(A, C)).slice(1)];
  assertFailsAt(verify(forked), 'log-inclusion', /two entries claim the index 1/);
  // The same bundles twice, and the same log when it had grown, are no contradiction.
  assert.equal(verify([...good, ...sampleBundlesOf(log(A, B, C))]).ok, true);
});

test('verifyRelease fails at the witnesses', () => {
  const signers: Record<string, SampleNoteSigner[]> = {
    'nobody has seen it': [LOG_SIGNER],
    'a stranger has seen it': [LOG_SIGNER, sampleEd25519Witness('witness.example/other', 8)],
    'somebody else calls itself so': [LOG_SIGNER, sampleEd25519Witness('witness.example/1', 8)],
  };
  for (const [what, each] of Object.entries(signers))
    assertFailsAt(verify(sampleBundlesOf(log(A, B), each)), 'witnesses', /no witness that counts/, what);
  const half = [...good.slice(0, 1), ...sampleBundlesOf(log(A, B), [LOG_SIGNER]).slice(1)];
  assertFailsAt(verify(half), 'witnesses', /no witness that counts/, 'of one bundle only');
  const none = samplePolicy({ witnesses: [], witness_quorum: 'none' });
  const alone = verify(sampleBundlesOf(log(A, B), [LOG_SIGNER]), { policy: none });
  assert.deepEqual([alone.ok, alone.witnessedAt], [true, null]);
  assert.ok(alone.notes.some((one) => one.startsWith('No witness')));
});

test('verifyRelease does not count a witness of the log’s own operator or site, even if others meet the threshold', () => {
  const own = sampleEd25519Witness('witness.example/own', 8);
  const two = samplePolicy({
    witnesses: [
      { name: 'own', keys: [formatVerifierKey(own.key)], operator: 'Org log', site: 'elsewhere' },
      { name: 'w1', keys: [formatVerifierKey(WITNESS_ED25519.key)], operator: 'Org witness', site: 'site-witness' },
    ],
    witness_groups: [{ name: 'any', threshold: 1, members: ['own', 'w1'] }],
    witness_quorum: 'any',
  });
  assertFailsAt(verify(sampleBundlesOf(log(A, B), [LOG_SIGNER, own]), { policy: two }), 'witnesses', /no witness that counts/);
  assert.equal(verify(good, { policy: two }).ok, true);
});

test('verifyRelease fails at the subject', () => {
  const another = { name: 'hello', sha256: sha256Hex(toUtf8('another file')) };
  assertFailsAt(verify(good, { artifact: another }), 'subject', /no statement of a builder/);
  assertFailsAt(verify(sampleBundlesOf(log(STRANGER, STRANGER))), 'subject', /no statement of a builder/, 'strangers');
  assertFailsAt(verify(good, { expect: { buildId: 'a'.repeat(64) } }), 'subject', /the build id is/);
  const type = log(A, B).map((one) => entry(one.index, one.index === 0 ? A : B, 'application/json', one.payload));
  assertFailsAt(verify(sampleBundlesOf(type)), 'subject', /no statement of a builder/, 'statements of another type');
  const late = verify(good, { policy: strict });
  assertFailsAt(late, 'subject', /no builder that counts/, 'nothing was committed');
});

test('verifyRelease fails at the source', () => {
  assertFailsAt(verify(good, { expect: { source: `${SOURCE_REF}1` } }), 'source', /expected/);
  const untrusted = samplePolicy({ rules: [sampleRule({ sources: ['git+https://other.example/*'] })] });
  assertFailsAt(verify(good, { policy: untrusted }), 'source', /does not trust the source/);
  assertFailsAt(verify(good, { policy: samplePolicy({ rules: [sampleRule({ packages: 'x' })] }) }), 'source', /no rule/);
});

test('verifyRelease fails at the builders for a file that only a late dissenter has made', () => {
  const round = new SampleRound(strict, [A, B, C]).commit(A).commit(B).close();
  const { entries } = round.reveal(A).publish(A).reveal(B).publish(B).publish(C, bad);
  const artifact = { name: 'hello', sha256: sha256Hex(toUtf8('bad')) };
  assertFailsAt(verify(sampleBundlesOf(entries), { policy: strict, artifact }), 'builders', /nobody that counts/);
  assertFailsAt(verify(sampleBundlesOf(entries), { policy: strict }), 'threshold', /disputed/);
});

test('verifyRelease fails at the failure-domains', () => {
  assertFailsAt(verify(sampleBundlesOf(log(A))), 'failure-domains', /^1 independent of 2 needed: Org a\/site-a$/);
  assertFailsAt(verify(sampleBundlesOf(log(A, STRANGER))), 'failure-domains', /^1 independent of 2 needed/);
  const builders = [
    sampleBuilder('a', A),
    sampleBuilder('b', B, 'Org a', 'oslo'),
    sampleBuilder('c', C, 'Org c', 'site-a'),
    sampleBuilder('d', D),
  ];
  const together = samplePolicy({ builders });
  assertFailsAt(verify(good, { policy: together }), 'failure-domains', /^1 independent of 2/, 'one operator');
  assertFailsAt(verify(sampleBundlesOf(log(A, C)), { policy: together }), 'failure-domains', /^1 independent of 2/, 'one site');
  assert.equal(verify(sampleBundlesOf(log(A, B, D)), { policy: together }).ok, true);
});

test('verifyRelease fails at the threshold', () => {
  const disputed = log(A, B, [C, bad]);
  assertFailsAt(verify(sampleBundlesOf(disputed)), 'threshold', /^disputed/);
  const varied = samplePolicy({ rules: [sampleRule({ variations: ['clock'] })] });
  assertFailsAt(verify(good, { policy: varied }), 'threshold', /^pending: those who agree do not differ in clock/);
  const id = redecide(policy, disputed, BUILD_ID)?.decision.dispute ?? '';
  const resolved = (accept: string | null): Bundle[] => {
    const round = new SampleRound(policy, [A], 1, disputed).resolve(41, id, accept).resolve(42, id, accept);
    return sampleBundlesOf(round.entries);
  };
  assert.equal(verify(resolved(outputsDigest(outputs()))).ok, true, 'resolved');
  assertFailsAt(verify(resolved(null)), 'threshold', /^rejected/);
  assertFailsAt(verify(resolved(outputsDigest(bad.outputs))), 'threshold', /^pending/);
});

test('verifyRelease fails at the threshold for a file of the other side after a resolution', () => {
  const disputed = log(A, B, [C, bad], [D, bad]);
  const id = redecide(policy, disputed, BUILD_ID)?.decision.dispute ?? '';
  const accept = outputsDigest(outputs());
  const { entries } = new SampleRound(policy, [A], 1, disputed).resolve(41, id, accept).resolve(42, id, accept);
  const artifact = { name: 'hello', sha256: sha256Hex(toUtf8('bad')) };
  assertFailsAt(verify(sampleBundlesOf(entries), { artifact }), 'threshold', /^resolved/);
  assert.equal(verify(sampleBundlesOf(entries)).ok, true);
});

test('verifyRelease fails at freshness, and still says as of when it is authentic', () => {
  const stale = verify(good, { currentUntil: TIME, now: TIME });
  assertFailsAt(stale, 'freshness', /^authentic as of 2025-10-09T08:53:20Z, but what is current is only known until/);
  assert.equal(stale.witnessedAt, TIME);
  const later = { now: TIME + 91 * DAY, currentUntil: TIME + 200 * DAY };
  assertFailsAt(verify(good, later), 'freshness', /more than 90 days ago/);
  assert.equal(verify(good, { ...later, now: TIME + 90 * DAY }).ok, true);
  assertFailsAt(verify(good, { now: TIME - 2 * DAY }), 'freshness', /in the future/);
});

test('verifyRelease takes the earliest of the times at which bundles were witnessed', () => {
  const older = sampleBundlesOf(log(A, B), [LOG_SIGNER, sampleEd25519Witness('witness.example/1', 2, TIME - 5 * DAY)]);
  assert.equal(verify([...good.slice(0, 1), ...older.slice(1)]).witnessedAt, TIME - 5 * DAY);
});

test('verifyRelease says that domains are simulated', () => {
  const simulated = [A, B].map((one, index) => {
    const each = 'ab'.charAt(index);
    return sampleBuilder(each, one, `Org ${each}`, `site-${each}`, { simulated: true });
  });
  const verdict = verify(good, { policy: samplePolicy({ builders: simulated }) });
  assert.equal(verdict.ok, true);
  assert.match(verdict.steps.find((one) => one.name === 'failure-domains')?.detail ?? '', /SIMULATED/);
});

test('verifyRelease comes to the same verdict in whatever order the bundles are given', () => {
  const other = makeDefinition({ ...sampleManifest(), version: '1.1' }, sampleLock());
  // Another build, of one builder only, has a file with the same bytes.
  const entries = log(A, B, [C, { definition: other }]);
  const bundles = sampleBundlesOf(entries);
  assert.equal(verify(bundles).ok, true);
  assert.equal(verify([...bundles].reverse()).ok, true, 'reversed');
  assert.equal(verify([...bundles].reverse(), { expect: { buildId: BUILD_ID } }).ok, true, 'the build id is told');
});

test('verifyRelease of mutated bundles throws nothing, and passes only with the same documents', (t) => {
  const SEED = Number(process.env['LOCKSTEP_FUZZ_SEED'] ?? Date.now() % 1_000_000_000);
  t.diagnostic(`LOCKSTEP_FUZZ_SEED=${SEED}`);
  const random = randomFrom(SEED);
  const examples = named(good).map((one) => one.bytes);
  const expected = verify(good).decision;
  for (let count = 0; count < 200; count++) {
    const bundles = examples.map((bytes, index) => ({
      name: String(index),
      bytes: index === count % 2 ? mutate(examples, random) : bytes,
    }));
    const verdict = verify([], { bundles });
    assert.deepEqual(
      verdict.steps.map((one) => one.name),
      [...RELEASE_STEPS],
    );
    if (verdict.ok) assert.deepEqual(verdict.decision, expected);
  }
});
