/** Whose signature over a release record counts, at which place of the log: seats, changes, revocations, and what thieves try. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toBase64 } from '../bytes/base64.ts';
import { formatDocument } from '../dsse/document.ts';
import { anyKeyToPem } from '../key/any-key.ts';
import type { Policy } from '../policy/policy.ts';
import { COORDINATOR, LOG_SIGNER } from '../policy/samples.ts';
import type { LoggedEntry } from '../quorum/redecide.ts';
import { entry } from '../quorum/samples.ts';
import {
  A,
  B,
  CARRIER,
  edKey,
  envelopeOf,
  formatsJson,
  isoTime,
  keyChange,
  p256Key,
  R1,
  R2,
  R3,
  recordOf,
  releaseJson,
  releasePolicy,
  ROOT_SIGNERS,
  sampleRoot,
  statements,
  STRANGER,
  TIME,
  tufIdOf,
  withApproval,
  withCarried,
  withChange,
  withDirect,
  withDocument,
  withRevocation,
} from '../signing/samples.ts';
import { approvedRecords, type ApprovedRecord } from './approvals.ts';
import { CARRIED, carry } from './carried.ts';
import { KEY_CHANGE, KEY_REVOCATION } from './key-documents.ts';
import { releaseKeys } from './release-keys.ts';
import { RELEASE, releaseDigest } from './release-record.ts';

const policy = releasePolicy();
const agreed = statements(A, B);
const record = recordOf(policy, agreed);
const root = sampleRoot();
const [k1, k2] = [p256Key(R1), p256Key(R2)];
const [root1, root2, root3] = ROOT_SIGNERS as [typeof k1, typeof k1, typeof k1];
const [new1, new2] = [p256Key(61), edKey(62)];
const thief = p256Key(66);

function approvals(entries: readonly LoggedEntry[], by: Policy = policy): ApprovedRecord | undefined {
  return approvedRecords(by, entries, root).find((one) => one.digest === releaseDigest(record));
}

/** Seats that have approved it, with the index, in order. */
function seats(entries: readonly LoggedEntry[], by: Policy = policy): string {
  return (approvals(entries, by)?.approvals ?? []).map((one) => `${one.seat}@${one.index}`).join(' ');
}

function rejected(entries: readonly LoggedEntry[]): string {
  return (approvals(entries)?.rejected ?? []).join('; ');
}

test('approvedRecords counts a P-256 key that signed its entry, and an Ed25519 key inside a carried envelope', () => {
  const direct = withDirect(agreed, R1, record);
  assert.equal(seats(direct), 'r1@2');
  const both = withApproval(direct, record, R3);
  assert.equal(seats(both), 'r1@2 r3@3');
  assert.deepEqual(
    approvals(both)?.approvals.map((one) => one.key),
    [k1.key.id, R3.key.id],
  );
  assert.deepEqual(approvals(both)?.record, record);
  assert.equal(rejected(both), '');
  // One envelope can have them all; and in which order the entries come makes no difference.
  assert.equal(seats(withApproval(agreed, record, k1, k2, R3)), 'r1@2 r2@2 r3@2');
  assert.equal(seats(both.toReversed()), 'r1@2 r3@3');
});

test('approvedRecords counts a seat once, however often and in whichever way its key signs', () => {
  let entries = withDirect(agreed, R1, record);
  entries = withDirect(entries, R1, record);
  entries = withApproval(entries, record, k1);
  entries = withApproval(entries, record, k1, k1);
  assert.equal(seats(entries), 'r1@2');
});

test('approvedRecords counts nobody whom the policy does not name, nor a signature over something else', () => {
  assert.deepEqual(approvedRecords(policy, withDirect(withDirect(agreed, STRANGER, record), A, record), root), []);
  assert.equal(seats(withApproval(agreed, record, thief)), '');
  const other = recordOf(policy, agreed, { line: 'lts' });
  const envelope = { ...envelopeOf(RELEASE, other, [R3]), payload: formatDocument(RELEASE, record) };
  assert.equal(seats(withCarried(agreed, envelope, record.build_id)), '');
  // The carrier’s own signature says nothing, also when it is a release key’s.
  const carried = carry(envelopeOf(RELEASE, record, [thief]), record.build_id);
  assert.equal(seats(withDocument(agreed, R1, CARRIED, carried)), '');
  // A signature has to name its key by its id.
  const unnamed = envelopeOf(RELEASE, record, [R3]);
  const renamed = { ...unnamed, signatures: unnamed.signatures.map((one) => ({ ...one, keyid: 'r3' })) };
  assert.equal(seats(withCarried(agreed, renamed, record.build_id)), '');
});

test('approvedRecords tells records apart, the most approved first', () => {
  const other = recordOf(policy, agreed, { line: 'lts' });
  const found = approvedRecords(policy, withApproval(withApproval(agreed, other, k1), record, k1, k2), root);
  assert.deepEqual(
    found.map((one) => [one.digest, one.approvals.length]),
    [
      [releaseDigest(record), 2],
      [releaseDigest(other), 1],
    ],
  );
});

test('approvedRecords counts a record in the log that it names, and says so', () => {
  const elsewhere = withDirect(agreed, R1, record).map((one) => ({ ...one, origin: 'log.example/other' }));
  assert.equal(seats(elsewhere), '');
  assert.match(rejected(elsewhere), /^r1 \([0-9a-f]{16}\): the record is of the log log\.example\/farm$/);
});

test('approvedRecords follows a change that old and new have signed, from where it stands on', () => {
  let entries = withApproval(agreed, record, new1);
  entries = withChange(entries, [k1, new1], k1, new1);
  assert.equal(seats(entries), '');
  assert.match(rejected(entries), /r1 .*signed before it was named/);
  assert.equal(seats(withApproval(entries, record, new1)), 'r1@4');
  assert.deepEqual(
    releaseKeys(policy, entries, root).map((one) => [one.seat, one.from, one.reason]),
    [
      ['r1', 0, null],
      ['r2', 0, null],
      ['r3', 0, null],
      ['r1', 3, 'yearly change'],
    ],
  );
});

test('approvedRecords counts old and new key of one seat once', () => {
  const entries = withApproval(withApproval(withChange(agreed, [k1, new1], k1, new1), record, k1), record, new1);
  assert.equal(seats(entries), 'r1@3');
});

test('approvedRecords: a change by the root’s threshold and the new key holds, by less it does not', () => {
  const asked = (...signers: readonly (typeof k1)[]): string =>
    seats(withApproval(withChange(agreed, [k1, new2], ...signers), record, new2));
  assert.equal(asked(root1, root2, new2), 'r1@3');
  assert.equal(asked(root3, new2, root1), 'r1@3');
  assert.equal(asked(new2), '', 'by the new key alone');
  assert.equal(asked(k1), '', 'by the old key alone');
  assert.equal(asked(root1, root2), '', 'by the root alone');
  assert.equal(asked(root1, new2), '', 'by one of the root');
  assert.equal(asked(root1, root1, new2), '', 'by one of the root twice');
  assert.equal(asked(k2, new2), '', 'by another seat');
  assert.equal(asked(thief, new2), '', 'by a stranger');
  const twoIds = envelopeOf(KEY_CHANGE, keyChange(k1, new2), [root1, new2]);
  const again = { keyid: tufIdOf(root, root1), sig: twoIds.signatures[0]!.sig };
  const doubled = { ...twoIds, signatures: [...twoIds.signatures, again] };
  assert.equal(seats(withApproval(withCarried(agreed, doubled), record, new2)), '', 'by one of the root under both of its ids');
  const byTufId = envelopeOf(KEY_CHANGE, keyChange(k1, new2), [root1, root2, new2]);
  const renamed = byTufId.signatures.map((one, index) => (index === 2 ? one : { ...one, keyid: tufIdOf(root, [root1, root2][index]!) }));
  assert.equal(seats(withApproval(withCarried(agreed, { ...byTufId, signatures: renamed }), record, new2)), 'r1@3', 'by TUF’s ids');
  assert.equal(
    approvedRecords(policy, withApproval(withChange(agreed, [k1, new2], root1, root2, new2), record, new2), null).length,
    0,
    'no root',
  );
});

test('approvedRecords follows a chain of changes, and a later part of it only after an earlier one', () => {
  const chain = withChange(withChange(agreed, [k1, new1], k1, new1), [new1, new2], new1, new2);
  assert.equal(seats(withApproval(chain, record, new2)), 'r1@4');
  const backwards = withChange(withChange(agreed, [new1, new2], new1, new2), [k1, new1], k1, new1);
  assert.equal(seats(withApproval(backwards, record, new2)), '');
});

test('approvedRecords: one key cannot sit in two seats, nor can changes go round', () => {
  assert.throws(
    () =>
      releasePolicy({
        release: releaseJson(1, [
          { name: 'x', key: anyKeyToPem(R3.key) },
          { name: 'y', key: anyKeyToPem(R3.key) },
        ]),
      }),
    /same key/,
  );
  const both = withChange(withChange(agreed, [k1, new1], k1, new1), [k2, new1], k2, new1);
  assert.equal(seats(withApproval(both, record, new1)), 'r1@4');
  const taken = withChange(agreed, [k1, k2], k1, k2);
  assert.equal(seats(withApproval(taken, record, k2)), 'r2@3');
  let round = withChange(agreed, [k1, new1], k1, new1);
  round = withChange(round, [new1, k1], new1, k1);
  round = withChange(round, [new1, new1], new1);
  assert.equal(seats(withApproval(round, record, k1, new1)), 'r1@5');
  assert.equal(releaseKeys(policy, round, root).length, 4);
});

test('releaseKeys names no key that the policy lists for something else', () => {
  const formats = releasePolicy({ release: releaseJson(2, undefined, formatsJson()) });
  for (const other of [p256Key(A), p256Key(COORDINATOR), edKey(110), edKey(1), edKey(2)]) {
    const entries = withApproval(withChange(agreed, [k1, other], k1, other), recordOf(formats, agreed), other);
    assert.deepEqual(approvedRecords(formats, entries, root), []);
    assert.equal(releaseKeys(formats, entries, root).length, 3);
  }
});

test('releaseKeys takes no new key that is none, or is of RSA', () => {
  const rsa =
    '-----BEGIN PUBLIC KEY-----\n' +
    `${toBase64(Uint8Array.from([...Buffer.from('30820122300d06092a864886f70d01010105000382010f003082010a0282010100', 'hex'), ...new Uint8Array(256).fill(201), 2, 3, 1, 0, 1]))}\n` +
    '-----END PUBLIC KEY-----\n';
  for (const pem of [rsa, '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n', '-----BEGIN PUBLIC KEY-----\n']) {
    const entries = withCarried(agreed, envelopeOf(KEY_CHANGE, keyChange(k1, new1, { new: pem }), [k1, new1]));
    assert.equal(releaseKeys(policy, entries, root).length, 3);
  }
});

test('approvedRecords: a key that revoked itself counts before that, not after, and names no successor any more', () => {
  let entries = withDirect(agreed, R1, record);
  entries = withRevocation(entries, k1, 0, k1);
  assert.equal(seats(entries), 'r1@2', 'it cannot take back what it has approved, whatever index it writes');
  const later = withDirect(withRevocation(agreed, k1, 3, k1), R1, record);
  assert.equal(seats(later), '');
  assert.match(rejected(later), /r1 .*stolen: the disk is gone/);
  const successor = withChange(later, [k1, new1], k1, new1);
  assert.equal(seats(withApproval(successor, record, new1)), '');
  assert.equal(seats(withDirect(withRevocation(agreed, k1, 9_000_000, k1), R1, record)), '', 'nor can it put its end off');
});

test('approvedRecords: nobody revokes another’s key but the root’s threshold, and not for another log', () => {
  for (const signers of [[k2], [thief], [root1], []]) {
    const entries =
      signers.length === 0 ? withDocument(agreed, R1, KEY_REVOCATION, revocation()) : withRevocation(agreed, k1, 0, ...signers);
    assert.equal(seats(withDirect(entries, R1, record)), 'r1@3');
  }
  const elsewhere = withCarried(
    agreed,
    envelopeOf(KEY_REVOCATION, { ...revocation(), from: { log: 'log.example/x', index: 0 } }, [root1, root2]),
  );
  assert.equal(seats(withDirect(elsewhere, R1, record)), 'r1@3');
});

function revocation() {
  return {
    schema: 'lockstep-key-revocation/v1' as const,
    use: 'release-dsse' as const,
    key: k1.key.id as string,
    why: 'stolen' as const,
    reason: 'gone',
    time: isoTime(TIME),
    from: { log: LOG_SIGNER.key.name, index: 0 },
  };
}

test('approvedRecords: the root ends a key at the latest where the revocation stands', () => {
  const later = withRevocation(agreed, k1, 9_000_000, root1, root2);
  assert.equal(seats(withDirect(later, R1, record)), '');
});

test('approvedRecords: a key that the root lists under two ids is one of its threshold', () => {
  const id = tufIdOf(root, root1);
  const twice = {
    ...root,
    keys: { ...root.keys, ['0'.repeat(64)]: root.keys[id]! },
    roles: { ...root.roles, root: { keyids: [id, '0'.repeat(64), tufIdOf(root, root2)], threshold: 2 } },
  };
  const changed = (...signers: readonly (typeof k1)[]): number =>
    releaseKeys(policy, withChange(agreed, [k1, new2], ...signers), twice).length;
  assert.equal(changed(root1, new2), 3);
  assert.equal(changed(root1, root2, new2), 4);
});

test('approvedRecords: the stolen-key drill: the root ends the key from before the theft, and what the thief did goes with it', () => {
  // 2: a good release. 3: the thief approves. 4: and names a successor. 5: which approves, 6: and names one more. 7: which approves.
  let entries = withDirect(agreed, R1, record);
  const stolenAt = entries.length;
  const lie = recordOf(policy, agreed, { line: 'lts' });
  const thief2 = edKey(67);
  entries = withDirect(entries, R1, lie);
  entries = withChange(entries, [k1, thief], k1, thief);
  entries = withApproval(entries, lie, thief);
  entries = withChange(entries, [thief, thief2], thief, thief2);
  entries = withApproval(entries, lie, thief2);
  const approvedLie = (all: readonly LoggedEntry[]): number =>
    approvedRecords(policy, all, root).find((one) => one.digest === releaseDigest(lie))?.approvals.length ?? 0;
  assert.equal(approvedLie(entries), 1, 'as long as nobody knows');
  entries = withRevocation(entries, k1, stolenAt, root1, root2);
  assert.equal(approvedLie(entries), 0);
  assert.equal(seats(entries), 'r1@2', 'the release before the theft stays approved');
  assert.deepEqual(
    releaseKeys(policy, entries, root).map((one) => [one.seat, one.until]),
    [
      ['r1', stolenAt],
      ['r2', Number.POSITIVE_INFINITY],
      ['r3', Number.POSITIVE_INFINITY],
    ],
  );
  // The thief has it revoked again, later; the root names the successor; both keys of the thief go on signing.
  entries = withRevocation(entries, k1, 9000, k1);
  entries = withChange(entries, [k1, new1], root1, root3, new1);
  const named = entries.length;
  entries = withApproval(withApproval(withApproval(entries, lie, thief, thief2, k1), record, k1), lie, new1);
  assert.equal(approvedLie(entries), 1, 'by the new key only');
  assert.equal(approvedRecords(policy, entries, root).find((one) => one.digest === releaseDigest(lie))?.approvals[0]?.index, named + 2);
  // That the root ends a key later than the key has ended itself gives it nothing back.
  assert.equal(seats(withDirect(withRevocation(withRevocation(agreed, k1, 0, k1), k1, 9000, root1, root2), R1, record)), '');
});

test('approvedRecords: a lost key is replaced by the root, and what it approved stays', () => {
  let entries = withDirect(agreed, R1, record);
  entries = withChange(entries, [k1, new2], root1, root2, new2);
  entries = withRevocation(entries, k1, 3, root1, root2);
  assert.equal(seats(entries), 'r1@2');
  assert.equal(seats(withApproval(entries, record, new2)), 'r1@2');
});

test('approvedRecords stays quick with 10,000 documents that strangers had carried', (t) => {
  const junk = (index: number): LoggedEntry => {
    const reason = `junk ${index}`;
    const envelope = [
      () => envelopeOf(RELEASE, { ...record, line: `l${index}` }, []),
      () => envelopeOf(KEY_CHANGE, keyChange(k1, new1, { reason }), []),
      () => envelopeOf(KEY_REVOCATION, { ...revocation(), reason }, []),
    ][index % 3]!();
    const signatures = Array.from({ length: 16 }, (_, at) => ({ keyid: `${at}`.repeat(64).slice(0, 64), sig: signature }));
    return entry(index + 10, CARRIER, CARRIED.payloadType, formatDocument(CARRIED, carry({ ...envelope, signatures }, null)));
  };
  // Good ones of somebody, over something else.
  const signature = R3.sign(new Uint8Array(3));
  const entries = [...withDirect(agreed, R1, record), ...Array.from({ length: 10_000 }, (_, index) => junk(index))];
  // Of the processor, not of the clock: others run at the same time.
  const begun = process.cpuUsage();
  assert.equal(seats(entries), 'r1@2');
  const took = process.cpuUsage(begun).user / 1000;
  t.diagnostic(`${Math.round(took)} ms`);
  assert.ok(took < 20_000, `${took} ms`);
});
