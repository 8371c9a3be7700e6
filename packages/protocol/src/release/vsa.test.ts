/** The verification summary: what it says of the levels, and that all of it follows from the record. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromUtf8 } from '../bytes/utf8.ts';
import { sampleBuilder, sampleRule } from '../policy/samples.ts';
import { A, B, C, recordOf, releasePolicy, statements } from '../signing/samples.ts';
import type { ReleaseRecord } from './release-record.ts';
import { verifiedLevels, vsaBytes } from './vsa.ts';

const L2 = 'SLSA_BUILD_LEVEL_2';
const REPRODUCED = 'SLSA_BUILD_REPRODUCED';

function levels(builders: Parameters<typeof sampleBuilder>[], signers: readonly number[], quorum = 1): string[] {
  const policy = releasePolicy({ builders: builders.map((one) => sampleBuilder(...one)), rules: [sampleRule({ quorum })] });
  return verifiedLevels(recordOf(policy, statements(...signers)));
}

test('verifiedLevels claims "reproduced" for builders of two operators, and never more than Build L2', () => {
  assert.deepEqual(
    levels(
      [
        ['a', A],
        ['b', B],
      ],
      [A, B],
      2,
    ),
    [L2, REPRODUCED],
  );
  assert.deepEqual(
    levels(
      [
        ['a', A],
        ['b', B],
        ['c', C],
      ],
      [A, B, C],
      2,
    ),
    [L2, REPRODUCED],
  );
});

test('verifiedLevels of one builder, or of one operator, claims no reproduction', () => {
  assert.deepEqual(
    levels(
      [
        ['a', A],
        ['b', B],
      ],
      [A],
    ),
    [L2],
  );
  assert.deepEqual(
    levels(
      [
        ['a', A, 'Org'],
        ['b', B, 'Org'],
      ],
      [A, B],
    ),
    [L2],
  );
  assert.deepEqual(
    levels(
      [
        ['a', A, 'Org', 'x'],
        ['b', B, 'Org', 'y'],
        ['c', C, 'Org', 'z'],
      ],
      [A, B, C],
    ),
    [L2],
  );
});

test('verifiedLevels of builders that are simulated is Build L1, also when only one is', () => {
  const simulated = { simulated: true };
  assert.deepEqual(
    levels(
      [
        ['a', A, 'Org a', 'x', simulated],
        ['b', B, 'Org b', 'y', simulated],
      ],
      [A, B],
      2,
    ),
    ['SLSA_BUILD_LEVEL_1'],
  );
  assert.deepEqual(
    levels(
      [
        ['a', A, 'Org a', 'x'],
        ['b', B, 'Org b', 'y', simulated],
      ],
      [A, B],
      2,
    ),
    ['SLSA_BUILD_LEVEL_1'],
  );
  assert.deepEqual(
    levels(
      [
        ['a', A, 'Org a', 'x', simulated],
        ['b', B],
      ],
      [A],
    ),
    ['SLSA_BUILD_LEVEL_1'],
  );
});

test('verifiedLevels counts builders that agree on the release, and no other', () => {
  assert.deepEqual(
    levels(
      [
        ['a', A],
        ['b', B],
      ],
      [A, 91],
    ),
    [L2],
  );
});

test('vsaBytes has each file with its digests, the policy, and each statement that was looked at', () => {
  const policy = releasePolicy({ name: 'farm of "ä" / 1' });
  const record = recordOf(policy, statements(A, B));
  const vsa = JSON.parse(fromUtf8(vsaBytes(record)) ?? '');
  assert.equal(vsa._type, 'https://in-toto.io/Statement/v1');
  assert.equal(vsa.predicateType, 'https://slsa.dev/verification_summary/v1');
  assert.deepEqual(
    vsa.subject,
    record.files.map(({ name, size, sha256, sha512, blake2b512 }) => ({
      name,
      annotations: { size },
      digest: { sha256, sha512, blake2b512 },
    })),
  );
  const { predicate } = vsa;
  assert.deepEqual(predicate.policy.digest, { sha256: policy.sha256 });
  assert.equal(predicate.policy.uri, `urn:lockstep:policy:${encodeURIComponent(policy.name)}:${policy.version}`);
  assert.equal(predicate.resourceUri, `urn:lockstep:build:${record.build_id}`);
  assert.equal(predicate.timeVerified, record.time);
  assert.equal(predicate.verificationResult, 'PASSED');
  assert.equal(predicate.slsaVersion, '1.2');
  assert.deepEqual(predicate.verifiedLevels, verifiedLevels(record));
  assert.deepEqual(
    predicate.inputAttestations.map((one: { digest: { sha256: string } }) => one.digest.sha256),
    record.quorum.builders.map((one) => one.statement),
  );
  // A level of the build track at most once, as the format asks.
  assert.equal(predicate.verifiedLevels.filter((one: string) => one.startsWith('SLSA_BUILD_LEVEL_')).length, 1);
});

test('vsaBytes differs for each thing that a record says of the release', () => {
  const record = recordOf(releasePolicy(), statements(A, B));
  const changes: Partial<ReleaseRecord>[] = [
    { build_id: record.outputs },
    { time: '2030-01-01T00:00:00Z' },
    { policy: { ...record.policy, version: 9 } },
    { policy: { ...record.policy, sha256: record.outputs } },
    { files: record.files.slice(1) },
    { quorum: { ...record.quorum, builders: record.quorum.builders.slice(1) } },
  ];
  const texts = [record, ...changes.map((change) => ({ ...record, ...change }))].map((one) => fromUtf8(vsaBytes(one)));
  assert.equal(new Set(texts).size, texts.length);
});
