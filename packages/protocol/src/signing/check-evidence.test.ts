/** Each step of a node's verdict: evidence that holds passes, and one change to it fails at that step and no other. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sampleEd25519Witness, sampleLogSigner } from '../bundle/samples.ts';
import { toBase64 } from '../bytes/base64.ts';
import { fromUtf8, toUtf8 } from '../bytes/utf8.ts';
import { RESOLUTION } from '../commitment/documents.ts';
import type { Sha256 } from '../digest/digest.ts';
import { makeDefinition } from '../definition/definition.ts';
import { sampleLock, sampleManifest } from '../definition/samples.ts';
import { IN_TOTO_PAYLOAD } from '../dsse/envelope.ts';
import type { Json } from '../json/parse.ts';
import { formatLogEntry } from '../log-entry/log-entry.ts';
import { leafHash } from '../merkle/hash.ts';
import type { TreeHead } from '../merkle/proof.ts';
import { sampleTree, type SampleTree } from '../merkle/samples.ts';
import type { Policy } from '../policy/policy.ts';
import { ARBITERS, LOG_SIGNER, sampleBuilder, sampleRule, sampleSigner, WITNESS_ED25519 } from '../policy/samples.ts';
import { outputsDigest } from '../quorum/claim.ts';
import { type LoggedEntry, redecide } from '../quorum/redecide.ts';
import { BUILD_ID, entry, SampleRound, type StatementParts, statementBytes } from '../quorum/samples.ts';
import { CHECK_RESULT, type CheckResult } from '../release/check-result.ts';
import { releaseDigest, type ReleaseRecord } from '../release/release-record.ts';
import { checkEvidence, EVIDENCE_STEPS, type EvidenceVerdict, lineKey, type NodeKnows } from './check-evidence.ts';
import type { ReleaseRequest } from './request.ts';
import {
  A,
  B,
  bundleTexts,
  C,
  CHECKER,
  DAY,
  formatsJson,
  HOUR,
  isoTime,
  recordOf,
  releaseJson,
  releaseOutputs,
  releasePolicy,
  sampleKnows,
  sampleRequest,
  statements,
  STRANGER,
  TIME,
  withDocument,
} from './samples.ts';

const policy = releasePolicy();
const agreed = statements(A, B);
const request = sampleRequest(policy, agreed);

function check(asked: ReleaseRequest, knows: Partial<NodeKnows> = {}, by: Policy = policy): EvidenceVerdict {
  return checkEvidence(asked, sampleKnows(by, knows));
}

function assertPasses(asked: ReleaseRequest, knows: Partial<NodeKnows> = {}, by: Policy = policy): EvidenceVerdict {
  const found = check(asked, knows, by);
  assert.deepEqual(
    found.verdict.steps.map(({ name, state }) => [name, state]),
    EVIDENCE_STEPS.map((name) => [name, 'pass']),
    JSON.stringify(found.verdict.steps),
  );
  assert.ok(found.verdict.ok && found.derived !== null);
  return found;
}

type Said = number | readonly [number, StatementParts];
type Result = readonly [number, Partial<CheckResult>];

/** Steps before it pass, what follows is unreached, and there is nothing to sign. */
function assertRefused({ verdict, derived }: EvidenceVerdict, step: (typeof EVIDENCE_STEPS)[number], why: RegExp): void {
  const failed = EVIDENCE_STEPS.indexOf(step);
  assert.deepEqual(
    verdict.steps.map(({ name, state }) => [name, state]),
    EVIDENCE_STEPS.map((name, index) => [name, index < failed ? 'pass' : index === failed ? 'fail' : 'unreached']),
    JSON.stringify(verdict.steps),
  );
  assert.match(verdict.steps[failed]?.detail ?? '', why);
  assert.equal(derived, null);
  assert.equal(verdict.ok, false);
}

test('checkEvidence passes what two independent builders agree on, and derives record and bytes', () => {
  const { derived, verdict } = assertPasses(request);
  assert.ok(derived !== null);
  const record = recordOf(policy, agreed);
  assert.deepEqual(derived.record, record);
  assert.equal(derived.digest, releaseDigest(record));
  assert.equal(derived.plan.length, request.expected.length);
  assert.equal(derived.origin, LOG_SIGNER.key.name);
  assert.equal(derived.tree.size, 2);
  assert.equal(derived.witnessedAt, TIME);
  assert.equal(derived.previousVersion, null);
  assert.equal(derived.now, TIME + 2 * HOUR);
  assert.ok(verdict.notes.some((one) => one.includes('Decided from the bundles')));
});

test('checkEvidence: policy: unknown, expired, or not known to be current', () => {
  assertRefused(check(request, { trust: 'it was signed by nobody' }), 'policy', /signed by nobody/);
  const expires = isoTime(TIME + 3 * HOUR);
  const short = releasePolicy({ expires });
  const asked = sampleRequest(short, agreed);
  assertPasses(asked, { now: TIME + 2 * HOUR }, short);
  assertRefused(check(asked, { now: TIME + 3 * HOUR }, short), 'policy', /expired at/);
  const trust = { policy, currentUntil: TIME + 3 * HOUR, root: null };
  assertPasses(request, { trust });
  assertRefused(check(request, { trust, now: TIME + 3 * HOUR }), 'policy', /fresh timestamp/);
});

test('checkEvidence: log-inclusion: a bundle of another log, of another entry, or of another checkpoint', () => {
  const elsewhere = bundleTexts(agreed, [sampleLogSigner('log.example/other', 5), WITNESS_ED25519]);
  assertRefused(check({ ...request, bundles: elsewhere }), 'log-inclusion', /a log that is not known/);
  const [first, second] = request.bundles as [string, string];
  const foreign = JSON.parse(second) as { dsseEnvelope: Json };
  foreign.dsseEnvelope = (JSON.parse(first) as { dsseEnvelope: Json }).dsseEnvelope;
  assertRefused(check({ ...request, bundles: [first, JSON.stringify(foreign)] }), 'log-inclusion', /another document/);
  const older = bundleTexts(agreed.slice(0, 1));
  assertRefused(check({ ...request, bundles: [...older, second] }), 'log-inclusion', /different checkpoints/);
  const forked = bundleTexts(statements(A, C));
  assertRefused(check({ ...request, bundles: [first, forked[1]!] }), 'log-inclusion', /split view/);
  assertRefused(check({ ...request, bundles: [first, '{}'] }), 'log-inclusion', /bundle 2: Not a Sigstore bundle/);
});

test('checkEvidence: witnesses: none, another, too old, or after the policy’s end', () => {
  const without = bundleTexts(agreed, [LOG_SIGNER]);
  assertRefused(check({ ...request, bundles: without }), 'witnesses', /no witness that counts/);
  const stranger = bundleTexts(agreed, [LOG_SIGNER, sampleEd25519Witness('witness.example/9', 99)]);
  assertRefused(check({ ...request, bundles: stranger }), 'witnesses', /no witness that counts/);
  // One of the bundles is enough to fail it.
  assertRefused(check({ ...request, bundles: [request.bundles[0]!, without[1]!] }), 'witnesses', /no witness that counts/);
  const strict = releasePolicy({ checkpoint_max_age_days: 1 });
  const late = sampleRequest(strict, agreed, { time: TIME + DAY });
  assertPasses(late, { now: TIME + DAY }, strict);
  assertRefused(check(late, { now: TIME + DAY + 1 }, strict), 'witnesses', /more than 1 days ago/);
  // A node whose clock stands still is told the time by the witnesses.
  const short = releasePolicy({ expires: isoTime(TIME - HOUR) });
  assertRefused(check(sampleRequest(short, agreed), { now: TIME - DAY }, short), 'witnesses', /had expired/);
  const trust = { policy, currentUntil: TIME, root: null };
  assertRefused(check(request, { trust, now: TIME - DAY }), 'witnesses', /had expired/);
});

test('checkEvidence without witnesses in the policy says so, and goes by its own clock', () => {
  const alone = releasePolicy({ witness_quorum: 'none' });
  const { derived, verdict } = assertPasses(sampleRequest(alone, agreed, { bundles: bundleTexts(agreed, [LOG_SIGNER]) }), {}, alone);
  assert.equal(derived?.witnessedAt, null);
  assert.ok(verdict.notes.some((one) => one.startsWith('No witness')));
});

/** The tree that the sample bundles of these entries are of. */
function treeOf(entries: readonly LoggedEntry[]): SampleTree {
  const leaves = entries.map((one) => {
    const signer = [A, B, C, CHECKER, STRANGER, ...ARBITERS].map(sampleSigner).find(({ key }) => key.id === one.signer);
    assert.ok(signer !== undefined);
    const signature = signer.sign(one.payloadType, one.payload);
    return leafHash(formatLogEntry({ digest: one.digest, signature, key: signer.key }));
  });
  return sampleTree(leaves);
}

test('checkEvidence: log-memory: an older checkpoint, a fork, and a proof that is missing or wrong', () => {
  const three = statements(A, B, C);
  const [older, newer] = [treeOf(agreed), treeOf(three)];
  const seen = (tree: TreeHead): Partial<NodeKnows> => ({ logs: new Map([[LOG_SIGNER.key.name, { size: tree.size, root: tree.root }]]) });
  const grown = sampleRequest(policy, three);
  const proof = { size: 2, hashes: newer.proveConsistency(2).map(toBase64) };
  assertPasses({ ...grown, consistency: [proof] }, seen(older));
  assertPasses(request, seen(older));
  assertPasses(request, { logs: new Map([['log.example/other', { size: 900, root: older.root }]]) });
  assertRefused(check(request, seen(newer)), 'log-memory', /has 2 entries, and this node has seen 3/);
  const other = treeOf(statements(A, C));
  assertRefused(check(request, seen(other)), 'log-memory', /split view/);
  assertRefused(check(grown, seen(older)), 'log-memory', /proof from the 2 entries .* missing/);
  assertRefused(check({ ...grown, consistency: [{ ...proof, size: 1 }] }, seen(older)), 'log-memory', /missing/);
  assertRefused(check({ ...grown, consistency: [proof] }, seen(other)), 'log-memory', /fork/);
  for (const hashes of [[], ['AAAA'], [toBase64(older.root)], [...proof.hashes, ...proof.hashes]])
    assertRefused(check({ ...grown, consistency: [{ size: 2, hashes }] }, seen(older)), 'log-memory', /fork/);
});

test('checkEvidence: quorum: another build, too few, one key twice, and strangers', () => {
  const definition = makeDefinition({ ...sampleManifest(), version: '1.1' }, sampleLock());
  const another = [A, B].map((signer, index) => entry(index, signer, IN_TOTO_PAYLOAD, statementBytes({ definition })));
  assertRefused(check({ ...request, bundles: bundleTexts(another) }), 'quorum', /no statement about the build/);
  const refusedAs = (why: RegExp, ...said: Said[]): void =>
    assertRefused(check({ ...request, bundles: bundleTexts(statements(...said)) }), 'quorum', why);
  refusedAs(/pending/, A);
  // Two entries, and two statements, of one builder are one voice.
  refusedAs(/pending/, A, A);
  refusedAs(/pending/, A, [A, { invocation: 'again' }]);
  refusedAs(/pending/, A, STRANGER);
  refusedAs(/pending/, A, CHECKER);
  // One entry handed in twice is one entry.
  const [first] = request.bundles as [string];
  assertRefused(check({ ...request, bundles: [first, first] }), 'quorum', /pending/);
});

test('checkEvidence: quorum: one key under two ids cannot be in a policy at all', () => {
  assert.throws(() => releasePolicy({ builders: [sampleBuilder('a', A), sampleBuilder('b', A)] }), /the same key/);
});

test('checkEvidence: quorum: dissent holds it until arbiters resolve it, and commitments cannot be left out', () => {
  const bad = { outputs: releaseOutputs('bad') };
  const dispute = statements(A, B, [C, bad]);
  assertRefused(check({ ...request, bundles: bundleTexts(dispute) }), 'quorum', /disputed/);
  const decision = redecide(policy, dispute, BUILD_ID)?.decision;
  const accept = outputsDigest(releaseOutputs());
  const vote = {
    schema: 'lockstep-resolution/v1' as const,
    build_id: BUILD_ID,
    dispute: decision?.dispute ?? '',
    accept,
    reason: 'looked at both of them',
  };
  const once = withDocument(dispute, ARBITERS[0], RESOLUTION, vote);
  assertRefused(check({ ...request, bundles: bundleTexts(once) }), 'quorum', /disputed/);
  const resolved = withDocument(once, ARBITERS[1], RESOLUTION, vote);
  const { derived } = assertPasses(sampleRequest(policy, resolved));
  assert.equal(derived?.record.quorum.result, 'resolved');
  const strict = releasePolicy({ rules: [sampleRule({ commitments: 'required' })] });
  assertRefused(check(request, {}, strict), 'quorum', /pending/);
  const parts = { outputs: releaseOutputs() };
  const round = new SampleRound(strict, [A, B])
    .commit(A, parts)
    .commit(B, parts)
    .reveal(A, parts)
    .publish(A, parts)
    .reveal(B, parts)
    .publish(B, parts);
  assertPasses(sampleRequest(strict, round.entries), {}, strict);
});

const checked = releasePolicy({ rules: [sampleRule({ checks: ['install', 'rebuild'] })] });
const passed: CheckResult = {
  schema: 'lockstep-check/v1',
  build_id: BUILD_ID,
  outputs: outputsDigest(releaseOutputs()),
  check: 'install',
  result: 'pass',
  detail: 'installed in a clean root',
};

test('checkEvidence: checks: missing, failed, by a stranger, about another build, other outputs or another check', () => {
  const asked = (...results: Result[]): ReleaseRequest => {
    const entries = results.reduce(
      (all: LoggedEntry[], [signer, change]: Result) => withDocument(all, signer, CHECK_RESULT, { ...passed, ...change }),
      agreed,
    );
    return sampleRequest(checked, entries);
  };
  assertPasses(asked([CHECKER, {}]), {}, checked);
  const refused = (why: RegExp, ...results: Result[]): void => assertRefused(check(asked(...results), {}, checked), 'checks', why);
  refused(/install: no checker/);
  refused(/install: failed: it hangs/, [CHECKER, { result: 'fail', detail: 'it hangs' }]);
  refused(/no checker/, [STRANGER, {}]);
  refused(/no checker/, [A, {}]);
  refused(/no checker/, [CHECKER, { build_id: '0'.repeat(64) }]);
  refused(/no checker/, [CHECKER, { outputs: outputsDigest(releaseOutputs('bad')) }]);
  refused(/no checker/, [CHECKER, { check: 'dependencies' }]);
  // The last word counts, in either direction.
  refused(/failed/, [CHECKER, {}], [CHECKER, { result: 'fail' }]);
  assertPasses(asked([CHECKER, { result: 'fail' }], [CHECKER, {}]), {}, checked);
  const alone = releasePolicy({ rules: [sampleRule({ quorum: 1, checks: ['rebuild'] })] });
  assertRefused(check(sampleRequest(alone, agreed), {}, alone), 'checks', /rebuild: one builder alone/);
});

test('checkEvidence: checks: one checker that fails it holds what another passed', () => {
  const two = releasePolicy({
    builders: [sampleBuilder('a', A), sampleBuilder('b', B)],
    checkers: [sampleBuilder('k', CHECKER), sampleBuilder('l', C)],
    rules: [sampleRule({ checks: ['install'] })],
  });
  const both = withDocument(withDocument(agreed, C, CHECK_RESULT, { ...passed, result: 'fail' }), CHECKER, CHECK_RESULT, passed);
  assertRefused(check(sampleRequest(two, both), {}, two), 'checks', /install: failed/);
});

test('checkEvidence: time: in the future, or long ago; before the checkpoint is no matter', () => {
  const at = (time: number): ReleaseRequest => sampleRequest(policy, agreed, { time });
  const now = TIME + 40 * DAY;
  const trust = { policy, currentUntil: now + DAY, root: null };
  assertPasses(at(TIME));
  assertPasses(at(TIME + 2 * HOUR + DAY));
  // Nodes of a threshold sign one record, and may be asked on different days, each with the newest checkpoint.
  assertPasses(at(TIME - DAY));
  assertRefused(check(at(TIME + 2 * HOUR + DAY + 1)), 'time', /in the future/);
  assertPasses(at(now - 30 * DAY), { now, trust });
  assertRefused(check(at(now - 30 * DAY - 1), { now, trust }), 'time', /more than 30 days ago/);
});

test('checkEvidence: release: statements that do not say how large the outputs are', () => {
  const sizeless = [A, B].map((signer, index) => {
    const text = fromUtf8(statementBytes({ invocation: `by ${signer}` })) ?? '';
    return entry(index, signer, IN_TOTO_PAYLOAD, toUtf8(text.replaceAll(/"annotations":\{"size":\d+\},/g, '')));
  });
  assertRefused(check({ ...request, bundles: bundleTexts(sizeless) }), 'release', /do not say how large/);
});

const record = recordOf(policy, agreed);
const last = (version: string, digest: Sha256 = releaseDigest(record)): Partial<NodeKnows> => ({
  releases: new Map([[lineKey(record.name, record.line), { version, record: digest, release: record }]]),
});

test('checkEvidence: version: going back, the same with another record, wrong previous, unknown line', () => {
  const other = 'f'.repeat(64) as Sha256;
  // Version 1.0 is asked for.
  assertPasses(request, last('1.0'));
  assertRefused(check(request, last('1.1')), 'version', /1\.0 goes back: 1\.1/);
  assertRefused(check(request, last('1.1', other)), 'version', /goes back/);
  assertRefused(check(request, last('1.0', other)), 'version', /another record/);
  assertRefused(check(request, last('1.00', other)), 'version', /another record/);
  assertPasses(sampleRequest(policy, agreed, { previous: other }), last('0.9', other));
  // Another seat may have signed what came between: a person is told.
  for (const unknown of [request, sampleRequest(policy, agreed, { previous: 'e'.repeat(64) })]) {
    assertPasses(unknown, last('0.9', other));
    assert.match(check(unknown, last('0.9', other)).verdict.notes.join(), /is not the one that this node signed last \(0\.9\)/);
  }
  // The policy was signed again between two approvals of one release: newer, and the same files of the same build.
  const before = { ...record, policy: { ...record.policy, version: record.policy.version - 1 } };
  const by = (release: ReleaseRecord): Partial<NodeKnows> => ({
    releases: new Map([[lineKey(record.name, record.line), { version: '1.0', record: other, release }]]),
  });
  assertPasses(request, by(before));
  for (const release of [record, { ...before, outputs: 'e'.repeat(64) as Sha256 }, { ...before, build_id: 'e'.repeat(64) as Sha256 }])
    assertRefused(check(request, by(release)), 'version', /another record/);
  const lts = sampleRequest(policy, agreed, { line: 'lts' });
  assertRefused(check(lts), 'version', /the line lts is not one/);
  assertPasses(lts, { lines: ['lts'] });
  // What was begun goes on, and another line's versions are none of this one's.
  assertPasses(lts, {
    lines: [],
    releases: new Map([
      [lineKey('hello', 'lts'), { version: '1.0', record: releaseDigest(recordOf(policy, agreed, { line: 'lts' })), release: record }],
    ]),
  });
  assertPasses(lts, { lines: ['lts'], ...last('9.0') });
  assert.notEqual(lineKey('a', 'b'), lineKey('b', 'a'));
});

test('checkEvidence: bytes: expected ones that differ in any format, stand there twice, or are missing', () => {
  const formats = releasePolicy({ release: releaseJson(2, undefined, formatsJson()) });
  const all = sampleRequest(formats, agreed);
  assertPasses(all, {}, formats);
  const uses = new Set(all.expected.map((one) => one.use));
  assert.equal(uses.size, 7, [...uses].join(' '));
  for (const [at, one] of all.expected.entries()) {
    const without = all.expected.filter((_, index) => index !== at);
    const changed = new Uint8Array(Buffer.from(one.bytes, 'base64'));
    changed[changed.length - 1]! ^= 1;
    const why = new RegExp(`^${one.use} ${one.file ?? ''}`);
    const refused = (expected: ReleaseRequest['expected']): void => assertRefused(check({ ...all, expected }, {}, formats), 'bytes', why);
    refused(without);
    refused([...all.expected, one]);
    refused([...without, { ...one, bytes: toBase64(changed) }]);
    refused([...without, { ...one, bytes: toBase64(changed.slice(0, -1)) }]);
    refused([...without, { ...one, bytes: '' }]);
    refused([...without, { ...one, use: 'log' }]);
    refused([...without, { ...one, file: 'another' }]);
  }
  // What other nodes are asked for is not this one's matter; but one without a key for any of it signs nothing.
  assertPasses(all, { uses: ['release-ssh'] }, formats);
  for (const none of [[], ['attestation', 'log', 'tuf-root', 'secure-boot', 'node']] as const)
    assertRefused(check(all, { uses: none }, formats), 'bytes', /no key that signs/);
});

test('checkEvidence: bytes: those of a record that the requester made up', () => {
  for (const change of [{ line: 'lts' }, { previous: 'e'.repeat(64) }, { time: isoTime(TIME + 61) }])
    assertRefused(check({ ...request, ...change }, { lines: ['main', 'lts'] }), 'bytes', /do not follow from the evidence/);
  const lies = sampleRequest(releasePolicy({ version: 4 }), agreed);
  assertRefused(check(lies), 'bytes', /do not follow/);
});
