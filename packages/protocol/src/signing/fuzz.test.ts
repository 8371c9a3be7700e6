/** Documents of approval and signing: nothing but their own error is thrown, and what is read has the one spelling. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { fromBase64, toBase64 } from '../bytes/base64.ts';
import { mutate, randomFrom } from '../bytes/mutation-samples.ts';
import { fromUtf8, toUtf8 } from '../bytes/utf8.ts';
import { type DocumentKind, formatDocument, readDocument } from '../dsse/document.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { anyKeyToPem } from '../key/any-key.ts';
import { entry } from '../quorum/samples.ts';
import { approvedRecords } from '../release/approvals.ts';
import { CARRIED, carry, carriedEnvelope } from '../release/carried.ts';
import { CHECK_RESULT } from '../release/check-result.ts';
import { KEY_CHANGE, KEY_REVOCATION } from '../release/key-documents.ts';
import { readIfKind } from '../release/read-if-kind.ts';
import { RELEASE } from '../release/release-record.ts';
import { checkEvidence } from './check-evidence.ts';
import { SIGNING_RECORD } from './record.ts';
import { formatRequest, MAX_REQUEST_BYTES, parseRequest, requestDigest, SIGNING_REQUEST, type SigningRequest } from './request.ts';
import {
  A,
  B,
  CARRIER,
  envelopeOf,
  isoTime,
  keyChange,
  p256Key,
  R1,
  R3,
  recordOf,
  releasePolicy,
  sampleKnows,
  sampleRequest,
  sampleRoot,
  statements,
  TIME,
  withDirect,
  withRevocation,
} from './samples.ts';

const RUNS = Number(process.env['LOCKSTEP_FUZZ'] ?? 5000);
const SEED = Number(process.env['LOCKSTEP_FUZZ_SEED'] ?? Date.now() % 1_000_000_000);

const policy = releasePolicy();
const agreed = statements(A, B);
const record = recordOf(policy, agreed);
const release = sampleRequest(policy, agreed);
const [k1, k2] = [p256Key(R1), p256Key(61)];
const change = keyChange(k1, k2);
const revocation = {
  schema: 'lockstep-key-revocation/v1' as const,
  use: 'release-dsse' as const,
  key: k1.key.id,
  why: 'lost' as const,
  reason: 'gone',
  time: isoTime(TIME),
  from: { log: 'log.example/farm', index: 3 },
};
const signingRecord = {
  schema: 'lockstep-signing-record/v1' as const,
  request: 'a'.repeat(64),
  node: 'node-1',
  time: isoTime(TIME),
  result: 'signed' as const,
  step: '',
  reason: '',
  about: 'hello 1.0',
  steps: [{ name: 'policy', state: 'pass' as const, detail: 'ok' }],
  release: record,
  tuf: null,
  learned: {
    seen: { root: 1, timestamp: 1, snapshot: 1, targets: 1, policy: 3 },
    log: { origin: 'log.example/farm', size: 2, root: 'b'.repeat(64) },
  },
  signatures: [
    {
      use: 'release-dsse' as const,
      format: 'dsse' as const,
      file: 'release.json',
      key: { name: 'k', id: k1.key.id, pem: anyKeyToPem(k1.key), number: null },
      message: 'c'.repeat(64),
      signature: 'AAAA',
      second: null,
    },
  ],
};
const keyRequest: SigningRequest = {
  schema: 'lockstep-signing-request/v1',
  purpose: 'key',
  nodes: { 'node-1': 'a note' },
  time: isoTime(TIME),
  expected: [{ use: 'release-dsse', file: null, bytes: 'AAAA' }],
  payload_type: KEY_CHANGE.payloadType,
  payload: toBase64(formatDocument(KEY_CHANGE, change)),
};
const tufRequest: SigningRequest = {
  schema: 'lockstep-signing-request/v1',
  purpose: 'tuf',
  nodes: { 'node-1': null },
  time: isoTime(TIME),
  expected: [{ use: 'tuf-root', file: null, bytes: 'AAAA' }],
  role: 'root',
  metadata: '{}',
  files: { 'policy.json': '{}' },
};
/** Small, so that what is changed is seldom inside a bundle. */
const small: SigningRequest = {
  ...release,
  bundles: ['{}'],
  expected: release.expected.slice(0, 2),
  policy: { 'metadata/1.root.json': '{}' },
};

/** @param accept throws the parser's error, or compares what was read with what was given */
function fuzz(t: TestContext, examples: readonly Uint8Array[], accept: (input: Uint8Array) => void): void {
  const random = randomFrom(SEED);
  let accepted = 0;
  for (let run = 0; run < RUNS; run++) {
    const input = run < examples.length ? examples[run]! : mutate(examples, random);
    try {
      accept(input);
      accepted++;
    } catch (error) {
      if (run >= examples.length && error instanceof LockstepError && error.code === 'DOCUMENT_INVALID') continue;
      throw new Error(`LOCKSTEP_FUZZ_SEED=${SEED} run ${run}, input (base64) ${toBase64(input).slice(0, 4000)}`, { cause: error });
    }
  }
  t.diagnostic(`${accepted} of ${RUNS} accepted`);
}

function fuzzKind<T>(kind: DocumentKind<T>, ...values: readonly T[]): void {
  test(`readDocument of a mutated ${kind.noun} gives the typed error, or a value with these bytes`, (t) => {
    const examples = values.map((value) => formatDocument(kind, value));
    fuzz(t, examples, (input) => {
      const value = readDocument(kind, kind.payloadType, input);
      assert.ok(value !== null);
      assert.deepEqual(formatDocument(kind, value), input);
    });
    // The same value in another spelling is none.
    for (const example of examples) {
      const text = fromUtf8(example) ?? '';
      const spaced = JSON.stringify(JSON.parse(text), null, 1);
      const reversed = JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(text) as object).toReversed()));
      for (const other of [`${text}\n`, ` ${text}`, spaced, reversed, `\ufeff${text}`, text.replace('"schema"', '"schem\\u0061"')]) {
        assert.throws(() => readDocument(kind, kind.payloadType, toUtf8(other)), { code: 'DOCUMENT_INVALID' });
        assert.equal(readIfKind(kind, { payloadType: kind.payloadType, payload: toUtf8(other) }), null);
      }
      assert.equal(readIfKind(kind, { payloadType: 'application/vnd.in-toto+json', payload: example }), null);
      const more = text.replace(/\}$/, ',"zz":1}');
      assert.throws(() => readDocument(kind, kind.payloadType, toUtf8(more)), { code: 'DOCUMENT_INVALID' }, 'an unknown key');
    }
  });
}

fuzzKind(RELEASE, record);
fuzzKind(KEY_CHANGE, change, { ...change, overlap_until: isoTime(TIME), made: 'by hardware' });
fuzzKind(KEY_REVOCATION, revocation);
fuzzKind(
  CARRIED,
  carry(envelopeOf(KEY_CHANGE, change, [k1, k2]), null),
  carry(envelopeOf(KEY_REVOCATION, revocation, [R3]), record.build_id),
);
fuzzKind(CHECK_RESULT, {
  schema: 'lockstep-check/v1',
  build_id: record.build_id,
  outputs: record.outputs,
  check: 'install',
  result: 'pass',
  detail: 'ok',
});
fuzzKind(SIGNING_RECORD, signingRecord, {
  ...signingRecord,
  result: 'refused',
  step: 'policy',
  reason: 'it expired',
  release: null,
  learned: null,
  signatures: [],
});
fuzzKind(SIGNING_REQUEST, small, keyRequest, tufRequest);

test('parseRequest of mutated requests gives the typed error, or a request with these bytes', (t) => {
  fuzz(t, [small, keyRequest, tufRequest].map(formatRequest), (input) => assert.deepEqual(formatRequest(parseRequest(input)), input));
});

test('parseRequest refuses what is too large, and what is of no purpose', () => {
  assert.throws(() => parseRequest(new Uint8Array(MAX_REQUEST_BYTES + 1).fill(0x20)), {
    code: 'DOCUMENT_INVALID',
    message: /larger than 8 MiB/,
  });
  assert.throws(() => parseRequest(new Uint8Array(MAX_REQUEST_BYTES).fill(0x5b)), { code: 'DOCUMENT_INVALID' });
  for (const purpose of ['other', '__proto__', 'toString', ''])
    assert.throws(() => parseRequest(toUtf8(JSON.stringify({ ...keyRequest, purpose }))), { code: 'DOCUMENT_INVALID' });
  assert.notEqual(requestDigest(formatRequest(small)), requestDigest(formatRequest(keyRequest)));
});

test('parseRequest refuses values that are out of their bounds', () => {
  const refused = (request: SigningRequest, change_: Record<string, unknown>): void =>
    assert.throws(
      () => formatRequest({ ...request, ...change_ } as SigningRequest),
      /not a signing request/,
      JSON.stringify(change_).slice(0, 80),
    );
  formatRequest(release);
  refused(release, { bundles: [] });
  refused(release, { line: '../x' });
  refused(release, { line: '' });
  refused(release, { expected: [] });
  refused(release, { expected: [{ use: 'release', file: null, bytes: '' }] });
  refused(release, { expected: [{ use: 'log', file: null, bytes: '*' }] });
  refused(release, { nodes: { 'a b': null } });
  refused(release, { policy: { 'metadata/../../etc/passwd': '' } });
  refused(release, { policy: { 'other/1.root.json': '' } });
  refused(release, { time: '2026-02-30T00:00:00Z' });
  refused(release, { consistency: [{ size: -1, hashes: [] }] });
  refused(release, { consistency: [{ size: 1, hashes: Array.from({ length: 64 }, () => 'AAAA') }] });
  refused(release, { role: 'root' });
  refused(tufRequest, { role: 'mirror' });
  refused(keyRequest, { payload: 'A'.repeat(20_004) });
});

test('checkEvidence never throws: mutated bundles are a failed step, or change nothing', (t) => {
  const random = randomFrom(SEED);
  const knows = sampleKnows(policy);
  const texts = release.bundles.map(toUtf8);
  let held = 0;
  const runs = Math.ceil(RUNS / 12);
  for (let run = 0; run < runs; run++) {
    const changed = fromUtf8(mutate(texts, random)) ?? '\u0000';
    const { verdict, derived } = checkEvidence({ ...release, bundles: release.bundles.with(run % 2, changed) }, knows);
    if (verdict.ok) held++;
    assert.equal(verdict.ok, derived !== null, `LOCKSTEP_FUZZ_SEED=${SEED} run ${run}`);
  }
  t.diagnostic(`${held} of ${runs} held`);
});

test('approvedRecords never throws, whatever strangers have carried, and counts nobody more', () => {
  const random = randomFrom(SEED);
  const good = withDirect(agreed, R1, record);
  const [revoked] = withRevocation([], k1, 0, k1);
  const examples = [
    formatDocument(CARRIED, carry(envelopeOf(RELEASE, record, [p256Key(66)]), record.build_id)),
    formatDocument(CARRIED, carry(envelopeOf(KEY_CHANGE, change, [k2]), null)),
    revoked!.payload,
  ];
  const root = sampleRoot();
  for (let run = 0; run < Math.ceil(RUNS / 20); run++) {
    const junk = Array.from({ length: 5 }, (_, at) => {
      let payload = mutate(examples, random);
      // Half of them are whole outside and broken inside.
      if (random(2) === 0) {
        const inside = mutate([formatDocument(KEY_CHANGE, change), formatDocument(RELEASE, record)], random);
        const type = [KEY_CHANGE.payloadType, RELEASE.payloadType, CARRIED.payloadType][random(3)]!;
        payload = formatDocument(
          CARRIED,
          carry({ payloadType: type, payload: inside, signatures: [{ keyid: k2.key.id, sig: mutate([k2.sign(inside)], random) }] }, null),
        );
      }
      return entry(good.length + at, CARRIER, CARRIED.payloadType, payload);
    });
    const [first, ...more] = approvedRecords(policy, [...good, ...junk], root);
    assert.deepEqual([first?.approvals.length, more.length], [1, 0], `LOCKSTEP_FUZZ_SEED=${SEED} run ${run}`);
  }
});

test('carriedEnvelope is what was given to carry', () => {
  const envelope = envelopeOf(RELEASE, record, [k1, R3]);
  assert.deepEqual(carriedEnvelope(carry(envelope, null)), envelope);
  assert.throws(() => formatDocument(CARRIED, carry({ ...envelope, signatures: [] }, null)), /not a carried envelope/);
  const many = { ...envelope, signatures: Array.from({ length: 17 }, () => envelope.signatures[0]!) };
  assert.throws(() => formatDocument(CARRIED, carry(many, null)), /not a carried envelope/);
  assert.equal(fromBase64('A==='), null);
});
