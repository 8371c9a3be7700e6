/** The bytes of each format, from the digests of a record, are what the format's own rules give for the files themselves. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { toUtf8 } from '../bytes/utf8.ts';
import { digestBytes, type Sha256 } from '../digest/digest.ts';
import { canonicalText } from '../json/canonical.ts';
import type { Json } from '../json/parse.ts';
import { releaseBytes, releaseDigest, type ReleaseRecord, releaseTable } from '../release/release-record.ts';
import { vsaBytes } from '../release/vsa.ts';
import { nixStorePathOfNar } from '../signature/nix-store-path.ts';
import { toNix32 } from '../signature/nix32.ts';
import { narFingerprint, narName, noteText, planRelease, RELEASE_USES, trustedComment } from './plan.ts';
import { A, ALL_USES, B, recordOf, releaseOutputs, releasePolicy, statements } from './samples.ts';

const record = recordOf(releasePolicy(), statements(A, B));
const FILES: Readonly<Record<string, Uint8Array>> = { hello: toUtf8('good'), 'hello.nar': toUtf8('archive of good') };
const sha = (algorithm: string, bytes: Uint8Array): Uint8Array => new Uint8Array(createHash(algorithm).update(bytes).digest());
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** The record with files of these names; their bytes are the names. */
function named(...names: readonly string[]): ReleaseRecord {
  return { ...record, files: names.map((name) => ({ name, size: 5, ...digestBytes(toUtf8(name)) })) };
}

const reason = (plan: ReturnType<typeof planRelease>): string => (typeof plan === 'string' ? plan : 'a plan');

function messages(use: (typeof RELEASE_USES)[number]): Readonly<Record<string, Uint8Array>> {
  const plan = planRelease(record, [use]);
  assert.ok(typeof plan !== 'string');
  assert.ok(plan.every((one) => one.use === use));
  return Object.fromEntries(plan.map((one) => [one.file, one.message]));
}

test('planRelease: the digests of the sample are those of its files', () => {
  assert.deepEqual(
    record.files.map((one) => [one.name, one.size]),
    Object.entries(FILES).map(([name, bytes]) => [name, bytes.length]),
  );
  for (const file of record.files) {
    const bytes = FILES[file.name]!;
    assert.equal(file.sha256, hex(sha('sha256', bytes)));
    assert.equal(file.sha512, hex(sha('sha512', bytes)));
    assert.equal(file.blake2b512, hex(sha('blake2b512', bytes)));
  }
  assert.equal(releaseOutputs().length, record.files.length);
});

test('planRelease: release-dsse is the pre-authentication encoding of record and summary', () => {
  const pae = (type: string, payload: Uint8Array): string => `DSSEv1 ${type.length} ${type} ${payload.length} ${text(payload)}`;
  assert.deepEqual(Object.fromEntries(Object.entries(messages('release-dsse')).map(([file, bytes]) => [file, text(bytes)])), {
    'release.json': pae('application/vnd.lockstep.release+json', releaseBytes(record)),
    'vsa.json': pae('application/vnd.in-toto+json', vsaBytes(record)),
  });
});

test('planRelease: release-minisign is the BLAKE2b-512 of each file, then signature and trusted comment', () => {
  const plan = planRelease(record, ['release-minisign']);
  assert.ok(typeof plan !== 'string');
  assert.equal(plan.length, 2);
  for (const one of plan) {
    assert.deepEqual(one.message, sha('blake2b512', FILES[one.file ?? '']!));
    const signature = new Uint8Array(64).fill(7);
    const comment = trustedComment(record, one.file ?? '');
    assert.deepEqual(one.second?.(signature), Uint8Array.from([...signature, ...toUtf8(comment)]));
    assert.ok(comment.includes(`file:${one.file} `) && comment.includes(releaseDigest(record).slice(0, 32)));
  }
});

test('planRelease: release-ssh is what ssh-keygen signs for each file', () => {
  for (const [name, message] of Object.entries(messages('release-ssh'))) {
    const string = (bytes: Uint8Array): Buffer => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      return Buffer.concat([length, bytes]);
    };
    const parts = [toUtf8('lockstep-release'), new Uint8Array(0), toUtf8('sha512'), sha('sha512', FILES[name]!)].map(string);
    assert.deepEqual(Buffer.from(message), Buffer.concat([toUtf8('SSHSIG'), ...parts]));
  }
});

test('planRelease: release-signify and release-raw are the checksum file, release-note has it in its text', () => {
  const sums = Object.entries(FILES)
    .map(([name, bytes]) => `SHA256 (${name}) = ${hex(sha('sha256', bytes))}\n`)
    .join('');
  for (const use of ['release-signify', 'release-raw'] as const) assert.equal(text(messages(use)['SHA256SUMS']!), sums);
  const note = `lockstep-release\nhello 1.0\n${releaseDigest(record)}\n${sums}`;
  assert.equal(text(messages('release-note')['release.note']!), note);
  assert.equal(noteText(record), note);
});

test('planRelease: nix-cache is the fingerprint of each archive, and of nothing else', () => {
  const found = messages('nix-cache');
  assert.deepEqual(Object.keys(found), ['hello.nar']);
  const narSha256 = sha('sha256', FILES['hello.nar']!);
  const storePath = nixStorePathOfNar({ narSha256, name: 'hello' });
  assert.equal(text(found['hello.nar']!), `1;${storePath};sha256:${toNix32(narSha256)};${FILES['hello.nar']!.length};`);
  assert.equal(narName('deep/er/hello-1.0.nar'), 'hello-1.0');
  for (const name of ['hello', '.nar', '.x.nar', 'a b.nar', 'hello.nar.xz', `${'a'.repeat(192)}.nar`])
    assert.equal(narName(name), null, name);
  assert.equal(narFingerprint({ name: 'hello', size: 1, sha256: '0'.repeat(64) }), null);
});

test('planRelease has each use by itself, no two messages alike, and none for other uses', () => {
  const all = planRelease(record, ALL_USES);
  assert.ok(typeof all !== 'string');
  assert.deepEqual([...new Set(all.map((one) => one.use))], [...RELEASE_USES]);
  const apart = RELEASE_USES.flatMap((use) => {
    const plan = planRelease(record, [use]);
    return typeof plan === 'string' ? [] : plan;
  });
  assert.deepEqual(
    apart.map((one) => [one.use, one.format, one.file, hex(one.message)]),
    all.map((one) => [one.use, one.format, one.file, hex(one.message)]),
  );
  // signify and raw sign the same bytes; this is why each has its own key.
  assert.equal(new Set(all.map((one) => hex(one.message))).size, all.length - 1);
  const others = ALL_USES.filter((use) => !(RELEASE_USES as readonly string[]).includes(use));
  assert.deepEqual(planRelease(record, others), []);
});

test('planRelease gives a reason for names that a format cannot hold', () => {
  for (const name of ['a\nb', 'a\u0000b', 'a\u001bb', '', 'release.json', 'SHA256SUMS', 'vsa.dsse.json', 'a.minisig', 'x.sigstore.json'])
    assert.equal(releaseTable(JSON.parse(JSON.stringify(named(name))) as Json, []).ok, false, JSON.stringify(name));
  for (const name of ['../up', '/abs', '-', '-rf', 'a(b', 'a)b', 'a\\b', 'a//b', 'a/./b', '\u202e'])
    assert.equal(releaseTable(JSON.parse(JSON.stringify(named(name))) as Json, []).ok, false, JSON.stringify(name));
  assert.match(reason(planRelease({ ...record, name: 'a\nb' }, ['release-minisign'])), /trusted comment/);
  assert.match(reason(planRelease({ ...record, version: 'a\u0000b' }, ['release-note'])), /Not a signed note/);
  assert.equal(typeof planRelease({ ...record, files: [{ ...named('x.nar').files[0]!, size: 0 }] }, ['nix-cache']), 'string');
});

test('planRelease of any record that can be read is a plan or a reason, and its second message is never a surprise', () => {
  const odd = fc.oneof(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }).filter((one) => one.isWellFormed()),
    fc.string({ unit: fc.constantFrom('a', '/', '.', '-', '(', ' ', '\n', '\u0000', '\u202e', 'ä', '.nar'), minLength: 1, maxLength: 8 }),
  );
  const files = fc.array(fc.tuple(odd, fc.maxSafeNat()), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(odd, odd, files, odd, (name, version, listed, policyName) => {
      const value = {
        ...record,
        name,
        version,
        files: listed.map(([file, size]) => ({ ...record.files[0], name: file, size })),
        policy: { ...record.policy, name: policyName },
      };
      const read = releaseTable(JSON.parse(JSON.stringify(value)) as Json, []);
      if (!read.ok) return;
      for (const use of RELEASE_USES) {
        const plan = planRelease(read.value, [use]);
        if (typeof plan === 'string') assert.notEqual(plan, '');
        else for (const one of plan) one.second?.(new Uint8Array(64));
      }
    }),
    { numRuns: 2000 },
  );
});

test('planRelease follows every part of the record', () => {
  const changes: readonly Partial<ReleaseRecord>[] = [
    { name: 'other' },
    { version: '1.1' },
    { line: 'lts' },
    { previous: 'a'.repeat(64) as Sha256 },
    { time: '2030-01-01T00:00:00Z' },
    { outputs: 'a'.repeat(64) as Sha256 },
    { files: record.files.slice(1) },
  ];
  const approved = [record, ...changes.map((change) => ({ ...record, ...change }))].map((one) => {
    const plan = planRelease(one, ['release-dsse']);
    assert.ok(typeof plan !== 'string');
    return canonicalText(plan.map(({ message }) => hex(message)));
  });
  assert.equal(new Set(approved).size, approved.length);
});
