import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toUtf8 } from '../bytes/utf8.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import type { Json } from '../json/parse.ts';
import { NOTHING_SEEN, readTarget, requireSignatures, type SeenVersions, trustedTargets, type TrustedTargets } from './client-workflow.ts';
import { parseMetadata, tufKeyId, type TufKey } from './metadata.ts';
import {
  fileInfo,
  keyId,
  POLICY_BYTES,
  repository,
  type RepositoryParts,
  rolesWithRoot,
  rootJson,
  signed,
  signSnapshot,
  signTargets,
  signTimestamp,
  targetsJson,
  tufKey,
  tufSignature,
  withSignatures,
} from './samples.ts';

const NOW = Date.parse('2029-01-01T00:00:00Z') / 1000;
const PAST = '2028-12-31T23:59:59Z';
const ROOT = signed(rootJson(), [1, 2]);

interface More extends RepositoryParts {
  readonly pinned?: Uint8Array;
  readonly now?: number;
  readonly seen?: Partial<SeenVersions>;
}

function trust({ pinned = ROOT, now = NOW, seen = {}, ...parts }: More = {}): TrustedTargets {
  return trustedTargets(pinned, repository(parts), now, { ...NOTHING_SEEN, ...seen });
}

function refuses(more: More, why: RegExp, what = ''): void {
  assert.throws(
    () => trust(more),
    (error) => {
      assert.ok(error instanceof LockstepError && ['ROOT_INVALID', 'POLICY_UNTRUSTED'].includes(error.code), `${what}: ${String(error)}`);
      assert.match(error.message, why, what);
      return true;
    },
    what,
  );
}

test('trustedTargets follows the pinned root to the targets, and readTarget to the bytes', () => {
  const trusted = trust();
  assert.deepEqual(trusted.seen, { root: 1, timestamp: 1, snapshot: 1, targets: 1 });
  assert.deepEqual(readTarget(trusted, 'policy.json', repository()), POLICY_BYTES);
  const soon = signTimestamp({ expires: '2029-02-01T00:00:00Z' });
  assert.equal(trust({ timestamp: soon }).currentUntil, Date.parse('2029-02-01T00:00:00Z') / 1000);
});

const rootOf = (change: Record<string, Json>, numbers: readonly number[]): Uint8Array => signed(rootJson(change), numbers);

test('trustedTargets rotates the root when both the old and the new keys have signed the next', () => {
  const roles = rolesWithRoot([8, 9], 2);
  const next = { version: 2, roles };
  const trusted = trust({ more: { 'metadata/2.root.json': rootOf(next, [1, 2, 8, 9]) } });
  assert.deepEqual([trusted.root.version, trusted.seen.root], [2, 2]);
  const third = rootOf({ ...next, version: 3 }, [8, 9]);
  const chain = { 'metadata/2.root.json': rootOf(next, [1, 2, 8, 9]), 'metadata/3.root.json': third };
  assert.equal(trust({ more: chain }).root.version, 3);
  for (const [what, numbers] of Object.entries({
    'only the old keys': [1, 2, 3],
    'only the new keys': [8, 9],
    'one of the old': [1, 8, 9],
    'one of the new': [1, 2, 8],
    nobody: [],
  }))
    refuses({ more: { 'metadata/2.root.json': rootOf(next, numbers) } }, /root metadata is signed by/, what);
});

test('trustedTargets takes each root only under its own number, and ends the old one’s roles', () => {
  refuses({ more: { 'metadata/2.root.json': ROOT } }, /another version than its name/);
  refuses({ more: { 'metadata/2.root.json': rootOf({ version: 3 }, [1, 2]) } }, /another version than its name/);
  refuses({ more: { 'metadata/2.root.json': toUtf8('{}') } }, /Not TUF root metadata/);
  // A root that is not the next one is never looked at.
  assert.equal(trust({ more: { 'metadata/3.root.json': toUtf8('{}') } }).root.version, 1);
  const roles = { ...(rootJson()['roles'] as Record<string, Json>), targets: { keyids: [keyId(8)], threshold: 1 } };
  const more = { 'metadata/2.root.json': rootOf({ version: 2, roles }, [1, 2]) };
  refuses({ more }, /targets metadata is signed by 0 of the 1/, 'the targets of the old root');
  assert.equal(trust({ more, targets: signTargets({}, [8]) }).root.version, 2);
});

test('trustedTargets takes an expired root for a step to the next, and not for the last', () => {
  const expired = rootOf({ expires: PAST }, [1, 2]);
  refuses({ pinned: expired }, /root expired/);
  assert.equal(trust({ pinned: expired, more: { 'metadata/2.root.json': rootOf({ version: 2 }, [1, 2]) } }).root.version, 2);
  refuses({ more: { 'metadata/2.root.json': rootOf({ version: 2, expires: PAST }, [1, 2]) } }, /root expired/);
  const expires = '2029-01-01T00:00:00Z';
  refuses({ pinned: rootOf({ expires }, [1, 2]) }, /root expired/, 'at the very second');
  assert.equal(trust({ pinned: rootOf({ expires }, [1, 2]), now: NOW - 1 }).root.version, 1);
});

test('trustedTargets refuses a pinned root that is not signed by its own threshold', () => {
  refuses({ pinned: rootOf({}, [1]) }, /signed by 1 of the 2/);
  refuses({ pinned: rootOf({}, [4, 5, 6, 7]) }, /signed by 0 of the 2/);
  const changed = toUtf8(Buffer.from(ROOT).toString().replace('"version":1', '"version":2'));
  refuses({ pinned: changed }, /signed by 0 of the 2/);
});

test('requireSignatures counts key material: one key under two key ids, or signed twice, is one', () => {
  const value = rootJson();
  const one = { keyid: keyId(1), sig: tufSignature(1, value) };
  refuses({ pinned: withSignatures(value, [one, one, one]) }, /a key id has two signatures/, 'the same signature again');
  // The same key under an id that is not its own.
  const keys = { ...(rootJson()['keys'] as Record<string, Json>), ['a'.repeat(64)]: JSON.parse(JSON.stringify(tufKey(1))) as Json };
  const roles = { ...rolesWithRoot([1], 2), root: { keyids: [keyId(1), 'a'.repeat(64)], threshold: 2 } };
  const twofold = rootJson({ keys, roles });
  const signature = tufSignature(1, twofold);
  const both = withSignatures(twofold, [
    { keyid: keyId(1), sig: signature },
    { keyid: 'a'.repeat(64), sig: signature },
  ]);
  refuses({ pinned: both }, /signed by 1 of the 2/, 'an alias');
  const repeated = rootJson({ roles: rolesWithRoot([1, 1, 1], 2) });
  refuses({ pinned: signed(repeated, [1]) }, /signed by 1 of the 2/, 'the id twice in the role');
  // In capitals the id would be another; then it is no id.
  const capitals = { ...tufKey(1), keyval: { public: tufKey(1).keyval.public.toUpperCase() } } as TufKey;
  const shout = rootJson({ keys: { ...keys, [tufKeyId(capitals)]: JSON.parse(JSON.stringify(capitals)) as Json } });
  refuses({ pinned: signed(shout, [1, 2]) }, /Not TUF root metadata/, 'another spelling of the key');
});

test('requireSignatures takes no signature of a key of another role, of other bytes or of an unknown key', () => {
  const { signed: root } = parseMetadata('root', ROOT);
  const value = targetsJson();
  const accepts = (bytes: Uint8Array): boolean => {
    try {
      requireSignatures('targets', parseMetadata('targets', bytes), root);
      return true;
    } catch (error) {
      assert.ok(error instanceof LockstepError);
      return false;
    }
  };
  assert.equal(accepts(signed(value, [4, 5])), true);
  assert.equal(accepts(signed(value, [99, 5, 1, 4])), true, 'strangers beside them');
  for (const numbers of [[], [4], [4, 4], [1, 2, 3], [6, 7], [4, 6], [99, 98]]) assert.equal(accepts(signed(value, numbers)), false);
  const swapped = [4, 5].map((number) => ({ keyid: keyId(9 - number), sig: tufSignature(number, value) }));
  assert.equal(accepts(withSignatures(value, swapped)), false, 'ids exchanged');
  const other = [4, 5].map((number) => ({ keyid: keyId(number), sig: tufSignature(number, targetsJson({ version: 2 })) }));
  assert.equal(accepts(withSignatures(value, other)), false, 'signatures of another version');
  // Two signatures under one id are refused: hundreds of bad ones would be hundreds of verifications.
  const good = [4, 5].map((number) => ({ keyid: keyId(number), sig: tufSignature(number, value) }));
  assert.equal(accepts(withSignatures(value, [{ keyid: keyId(4), sig: '00'.repeat(64) }, ...good])), false);
});

test('trustedTargets refuses each role that is signed by others', () => {
  refuses({ targets: signTargets({}, [4]) }, /targets metadata is signed by 1 of the 2/);
  refuses({ snapshot: signSnapshot({}, [7]) }, /snapshot metadata is signed by 0 of the 1/);
  refuses({ timestamp: signTimestamp({}, [6]) }, /timestamp metadata is signed by 0 of the 1/);
});

test('trustedTargets refuses each role that is older than what was seen', () => {
  const seen = { root: 1, timestamp: 1, snapshot: 1, targets: 1 };
  assert.deepEqual(trust({ seen }).seen, seen, 'the same again');
  for (const role of ['root', 'timestamp', 'snapshot', 'targets'] as const)
    refuses({ seen: { ...seen, [role]: 2 } }, new RegExp(`${role} version 1 is older`), role);
});

test('trustedTargets refuses files of another version than the one that names them', () => {
  refuses({ snapshot: signSnapshot({ version: 2 }) }, /not the version that the timestamp names/);
  refuses({ targets: signTargets({ version: 2 }) }, /not the version that the snapshot names/);
  refuses({ timestamp: signTimestamp({ meta: { 'snapshot.json': { version: 2 } } }) }, /2\.snapshot\.json is missing/);
  refuses({ snapshot: signSnapshot({ meta: { 'targets.json': { version: 2 } } }) }, /2\.targets\.json is missing/);
  refuses({ snapshot: signSnapshot({ meta: {} }) }, /names no targets/);
  refuses({ snapshot: signSnapshot({ meta: { 'other.json': { version: 1 } } }) }, /names no targets/);
});

test('trustedTargets refuses metadata and readTarget a target of another length or hash than the one that was signed', () => {
  const targets = signTargets();
  const snapshot = (info: Json): Uint8Array => signSnapshot({ meta: { 'targets.json': info } });
  assert.equal(trust({ snapshot: snapshot({ version: 1, ...fileInfo(targets) }) }).targets.version, 1);
  refuses({ snapshot: snapshot({ version: 1, length: targets.length + 1 }) }, /targets has \d+ bytes/);
  refuses({ snapshot: snapshot({ version: 1, hashes: { sha256: 'a'.repeat(64) } }) }, /another SHA-256/);
  const timestamp = (info: Json): Uint8Array => signTimestamp({ meta: { 'snapshot.json': info } });
  refuses({ timestamp: timestamp({ version: 1, length: 1 }) }, /snapshot has \d+ bytes/);
  refuses({ timestamp: timestamp({ version: 1, hashes: { sha256: 'a'.repeat(64) } }) }, /another SHA-256/);
  const [path] = [`targets/${(fileInfo(POLICY_BYTES)['hashes'] as { sha256: string }).sha256}.policy.json`];
  const read = (bytes: Uint8Array | null) => () => readTarget(trust(), 'policy.json', (name) => (name === path ? bytes : null));
  assert.doesNotThrow(read(POLICY_BYTES));
  for (const [bytes, why] of [
    [toUtf8('{"policy":2}'), /another SHA-256/],
    [POLICY_BYTES.subarray(1), /11 bytes, not the 12/],
    [null, /is missing/],
  ] as const)
    assert.throws(read(bytes), (error) => error instanceof LockstepError && error.code === 'POLICY_UNTRUSTED' && why.test(error.message));
  for (const name of ['other.json', '__proto__', 'toString', '../policy.json'])
    assert.throws(() => readTarget(trust(), name, repository()), /the targets name no /, name);
});

test('trustedTargets refuses expired targets, and reports until when snapshot and timestamp are current', () => {
  refuses({ targets: signTargets({ expires: PAST }) }, /targets expired/);
  for (const parts of [{ timestamp: signTimestamp({ expires: PAST }) }, { snapshot: signSnapshot({ expires: PAST }) }])
    assert.equal(trust(parts).currentUntil, NOW - 1);
});

test('trustedTargets refuses a file that is missing, and one role’s file for another', () => {
  const all: RepositoryParts = { targets: signTargets(), snapshot: signSnapshot(), timestamp: signTimestamp() };
  for (const role of ['targets', 'snapshot', 'timestamp'] as const)
    for (const other of ['targets', 'snapshot', 'timestamp'] as const)
      if (role !== other) refuses({ [role]: all[other] ?? ROOT }, /Not TUF/, `${other} for ${role}`);
  for (const path of ['metadata/timestamp.json', 'metadata/1.snapshot.json', 'metadata/1.targets.json'])
    assert.throws(
      () => trustedTargets(ROOT, (name) => (name === path ? null : repository()(name)), NOW, NOTHING_SEEN),
      (error) => error instanceof LockstepError && error.message.includes(`${path} is missing`),
    );
});
