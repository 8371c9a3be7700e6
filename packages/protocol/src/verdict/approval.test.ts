/** The steps "checks" and "approval" of verify: what counts as approved, and what is called unsigned. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toUtf8 } from '../bytes/utf8.ts';
import { buildId, makeDefinition } from '../definition/definition.ts';
import { sampleLock, sampleManifest } from '../definition/samples.ts';
import { sha256Hex } from '../digest/digest.ts';
import type { Policy } from '../policy/policy.ts';
import { sampleRule } from '../policy/samples.ts';
import { outputsDigest } from '../quorum/claim.ts';
import type { LoggedEntry } from '../quorum/redecide.ts';
import { BUILD_ID } from '../quorum/samples.ts';
import { CHECK_RESULT } from '../release/check-result.ts';
import { releaseDigest, type ReleaseRecord } from '../release/release-record.ts';
import {
  A,
  B,
  DAY,
  p256Key,
  R1,
  R2,
  R3,
  recordOf,
  releaseJson,
  releaseOutputs,
  releasePolicy,
  ROOT_SIGNERS,
  sampleRoot,
  statements,
  TIME,
  withApproval,
  withChange,
  withDirect,
  withDocument,
  withRevocation,
} from '../signing/samples.ts';
import { named, sampleBundlesOf } from './samples.ts';
import { RELEASE_STEPS, type ReleaseInput, type ReleaseVerdict, verifyRelease } from './verify-release.ts';

const policy = releasePolicy();
const agreed = statements(A, B);
const record = recordOf(policy, agreed);
const [k1, k2] = [p256Key(R1), p256Key(R2)];
const [root1, root2] = ROOT_SIGNERS as [typeof k1, typeof k1];

function verify(entries: readonly LoggedEntry[], more: Partial<ReleaseInput> = {}, by: Policy = policy): ReleaseVerdict {
  return verifyRelease({
    artifact: { name: 'hello', sha256: sha256Hex(toUtf8('good')) },
    trust: { policy: by, currentUntil: TIME + 10 * DAY, root: sampleRoot() },
    bundles: named(sampleBundlesOf(entries)),
    complete: true,
    expect: {},
    now: TIME + DAY,
    ...more,
  });
}

function step(verdict: ReleaseVerdict, name: (typeof RELEASE_STEPS)[number]): string {
  const found = verdict.steps.find((one) => one.name === name);
  return `${found?.state}: ${found?.detail}`;
}

function assertApproved(entries: readonly LoggedEntry[], by?: Policy): ReleaseVerdict {
  const verdict = verify(entries, {}, by);
  assert.ok(verdict.ok, JSON.stringify(verdict.steps));
  assert.ok(!verdict.notes.some((one) => one.includes('UNSIGNED')));
  return verdict;
}

function assertUnsigned(entries: readonly LoggedEntry[], why: RegExp): void {
  const verdict = verify(entries);
  assert.equal(verdict.ok, false);
  assert.deepEqual(
    verdict.steps.map(({ state }) => state),
    RELEASE_STEPS.map((name) => (name === 'approval' ? 'fail' : name === 'freshness' ? 'unreached' : 'pass')),
  );
  assert.match(step(verdict, 'approval'), why);
  assert.equal(verdict.approved, null);
}

test('verifyRelease passes what enough release keys have approved, and says who, what and up to which level', () => {
  const verdict = assertApproved(withApproval(withDirect(agreed, R1, record), record, R3));
  const detail = step(verdict, 'approval');
  assert.match(
    detail,
    /^pass: r1, r3 \(2 of 3 needed\), hello 1\.0 on main, record [0-9a-f]{16}, SLSA_BUILD_LEVEL_2 SLSA_BUILD_REPRODUCED$/,
  );
  assert.ok(detail.includes(releaseDigest(record).slice(0, 16)));
  assert.deepEqual(verdict.approved?.record, record);
  assert.deepEqual(
    verdict.approved?.approvals.map((one) => one.seat),
    ['r1', 'r3'],
  );
  assertApproved(withApproval(agreed, record, k1, k2, R3));
});

test('verifyRelease: a threshold of two is not met by one key twice, nor by two keys of one seat', () => {
  assertUnsigned(agreed, /UNSIGNED: approved by 0 of the 2 release keys/);
  assertUnsigned(withApproval(withDirect(withDirect(agreed, R1, record), R1, record), record, k1), /approved by 1 of the 2 .*\(r1\)/);
  const next = p256Key(61);
  const rotated = withChange(withDirect(agreed, R1, record), [k1, next], k1, next);
  assertUnsigned(withApproval(rotated, record, next), /approved by 1 of the 2/);
  assertApproved(withApproval(rotated, record, next, k2));
});

test('verifyRelease: a record of something else approves nothing', () => {
  const unlike = (change: Partial<ReleaseRecord>): void =>
    assertUnsigned(withApproval(agreed, { ...record, ...change }, k1, k2, R3), /approved by 0 of the 2/);
  assertApproved(withApproval(agreed, { ...record }, k1, k2));
  unlike({ build_id: '0'.repeat(64) as ReleaseRecord['build_id'] });
  unlike({ outputs: '0'.repeat(64) as ReleaseRecord['outputs'] });
  unlike({ files: record.files.slice(0, 1) });
  unlike({ files: record.files.map((file) => ({ ...file, size: file.size + 1 })) });
  unlike({ files: record.files.map((file) => ({ ...file, blake2b512: '0'.repeat(128) })) });
  unlike({ files: record.files.toReversed() });
  unlike({ name: 'another' });
  unlike({ version: '2.0' });
  assertUnsigned(
    withApproval(agreed, { ...record, log: 'log.example/other' }, k1, k2),
    /not counted: r1 .*the record is of the log log\.example\/other/,
  );
});

test('verifyRelease: two records with one approval each are not one with two', () => {
  const other = recordOf(policy, agreed, { line: 'lts' });
  assertUnsigned(withApproval(withApproval(agreed, record, k1), other, k2), /approved by 1 of the 2/);
});

test('verifyRelease says levels of what it decided itself, not of what a record claims', () => {
  const one = releasePolicy({ rules: [sampleRule({ quorum: 1 })] });
  const alone = statements(A);
  const honest = recordOf(one, alone);
  const boast = { ...honest, quorum: { ...honest.quorum, builders: record.quorum.builders } };
  for (const approved of [honest, boast]) {
    const verdict = assertApproved(withApproval(alone, approved, k1, k2), one);
    assert.match(step(verdict, 'approval'), /SLSA_BUILD_LEVEL_2$/);
  }
});

test('verifyRelease: after the stolen-key drill nothing that the thief signs is approved, and older releases are', () => {
  const before = withApproval(agreed, record, k1, k2);
  const thief = p256Key(66);
  const revoked = (entries: LoggedEntry[]): LoggedEntry[] => withRevocation(entries, k1, agreed.length, root1, root2);
  const stolen = withApproval(withChange(withApproval(agreed, record, k1), [k1, thief], k1, thief), record, thief, R3);
  assertApproved(stolen);
  assertUnsigned(revoked(stolen), /approved by 1 of the 2 .*\(r3\); not counted: r1 .*stolen: the disk is gone/);
  const later = withRevocation(before, k1, before.length, root1, root2);
  assertApproved(later);
  // The one key alone was never enough, and without a quorum nothing is: the steps before say so.
  const forged = verify(withApproval(statements(A), record, k1, k2, R3));
  assert.match(step(forged, 'failure-domains'), /^fail/);
  const without = verifyRelease({
    artifact: { name: 'hello', sha256: sha256Hex(toUtf8('good')) },
    trust: { policy, currentUntil: TIME + 10 * DAY, root: null },
    bundles: named(sampleBundlesOf(revoked(stolen))),
    complete: true,
    expect: {},
    now: TIME + DAY,
  });
  assert.ok(without.ok, 'without a root nobody can revoke for a thief: so the caller hands it in');
});

test('verifyRelease with unsigned: true goes on, and says so in step and note', () => {
  const verdict = verify(withDirect(agreed, R1, record), { unsigned: true });
  assert.ok(verdict.ok);
  assert.match(step(verdict, 'approval'), /^pass: UNSIGNED: approved by 1 of the 2/);
  assert.ok(verdict.notes.some((one) => one.startsWith('UNSIGNED:')));
  assert.equal(verdict.approved, null);
  const signed = verify(withApproval(agreed, record, k1, k2), { unsigned: true });
  assert.ok(signed.ok && !signed.notes.some((one) => one.includes('UNSIGNED')));
  // It lets nothing else pass.
  assert.equal(verify(statements(A), { unsigned: true }).ok, false);
});

test('verifyRelease by a policy without release keys passes, and says UNSIGNED', () => {
  const none = releasePolicy({ release: null });
  const verdict = verify(withApproval(agreed, record, k1, k2), {}, none);
  assert.ok(verdict.ok);
  assert.equal(step(verdict, 'approval'), 'pass: UNSIGNED: the policy names no release key');
  assert.ok(verdict.notes.some((one) => one.startsWith('UNSIGNED:')));
});

test('verifyRelease: of two builds that give the file the approved one is judged, whichever it is', () => {
  const definition = makeDefinition({ ...sampleManifest(), outputs: [{ files: 'hello' }, { files: 'hello.nar' }] }, sampleLock());
  const other = buildId(definition);
  const both = statements(A, B, [A, { definition }], [B, { definition }]);
  for (const id of [BUILD_ID, other]) {
    const verdict = assertApproved(withApproval(both, recordOf(policy, both, { buildId: id }), k1, k2));
    assert.equal(verdict.decision?.build_id, id);
  }
  assertUnsigned(both, /approved by 0 of the 2/);
  // Whoever asks for one of them is told about that one.
  const asked = verify(withApproval(both, recordOf(policy, both, { buildId: other }), k1, k2), { expect: { buildId: BUILD_ID } });
  assert.match(step(asked, 'approval'), /^fail: UNSIGNED/);
});

test('verifyRelease: a required check that no checker has passed holds it', () => {
  const strict = releasePolicy({ rules: [sampleRule({ checks: ['install'] })], release: releaseJson(1) });
  const approved = (entries: readonly LoggedEntry[]): LoggedEntry[] => withApproval(entries, recordOf(strict, agreed), k1);
  assert.match(step(verify(approved(agreed), {}, strict), 'checks'), /^fail: install: no checker/);
  const result = (said: 'pass' | 'fail'): LoggedEntry[] =>
    withDocument(agreed, 14, CHECK_RESULT, {
      schema: 'lockstep-check/v1',
      build_id: BUILD_ID,
      outputs: outputsDigest(releaseOutputs()),
      check: 'install',
      result: said,
      detail: 'tried',
    });
  assert.match(step(verify(approved(result('fail')), {}, strict), 'checks'), /^fail: install: failed: tried/);
  assertApproved(approved(result('pass')), strict);
});
