/**
 * The examples of spec/release.md and spec/signing-request.md go on with the story of spec/log.md: the agreed build is
 * checked, approved and logged, and a release key is changed. Told again with the same seeds, and compared to the letter.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { formatBundle } from '@lockstep/protocol/bundle/bundle';
import { sampleDocumentSigner, sampleEd25519Witness, sampleLogSigner, sampleSignedCheckpoint } from '@lockstep/protocol/bundle/samples';
import { toBase64 } from '@lockstep/protocol/bytes/base64';
import { fromUtf8, toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { commitmentOf } from '@lockstep/protocol/commitment/commit';
import { COMMITMENT, OPENING, OUTCOME, REVEAL } from '@lockstep/protocol/commitment/documents';
import { isTable } from '@lockstep/protocol/decode/decode';
import { type Sha256, sha256Hex } from '@lockstep/protocol/digest/digest';
import { type DocumentKind, formatDocument, readDocument } from '@lockstep/protocol/dsse/document';
import { IN_TOTO_PAYLOAD, pae } from '@lockstep/protocol/dsse/envelope';
import { canonicalBytes, canonicalText } from '@lockstep/protocol/json/canonical';
import { type Json, parseJson } from '@lockstep/protocol/json/parse';
import { anyKeyToPem } from '@lockstep/protocol/key/any-key';
import { formatLogEntry } from '@lockstep/protocol/log-entry/log-entry';
import { leafHash } from '@lockstep/protocol/merkle/hash';
import { sampleTree } from '@lockstep/protocol/merkle/samples';
import { noteKeyHash } from '@lockstep/protocol/note/verifier-key';
import { parsePolicy } from '@lockstep/protocol/policy/parse-policy';
import type { Policy } from '@lockstep/protocol/policy/policy';
import { type LoggedEntry, redecide } from '@lockstep/protocol/quorum/redecide';
import { approvedRecords } from '@lockstep/protocol/release/approvals';
import { CARRIED, carry } from '@lockstep/protocol/release/carried';
import { CHECK_RESULT } from '@lockstep/protocol/release/check-result';
import { KEY_CHANGE, KEY_REVOCATION, type KeyChange, type KeyRevocation } from '@lockstep/protocol/release/key-documents';
import { releaseKeys } from '@lockstep/protocol/release/release-keys';
import { deriveRelease, RELEASE, releaseDigest, type ReleaseRecord } from '@lockstep/protocol/release/release-record';
import { vsaBytes } from '@lockstep/protocol/release/vsa';
import { EVIDENCE_STEPS } from '@lockstep/protocol/signing/check-evidence';
import { planRelease, RELEASE_USES, trustedComment } from '@lockstep/protocol/signing/plan';
import { SIGNING_RECORD, type SigningRecord } from '@lockstep/protocol/signing/record';
import { formatRequest, parseRequest, requestDigest, type SigningRequest } from '@lockstep/protocol/signing/request';
import { edKey, envelopeOf, p256Key } from '@lockstep/protocol/signing/samples';
import { parseMetadata, type RootMetadata } from '@lockstep/protocol/tuf/metadata';
import { dealVariations } from '@lockstep/protocol/variation/deal';
import { verifyRelease } from '@lockstep/protocol/verdict/verify-release';

const page = (name: string): string => readFileSync(`${import.meta.dirname}/../../../spec/${name}`, 'utf8');

function block(name: string, language: string, marker: string): string {
  const blocks = [...page(name).matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map((match) => match[1] ?? '');
  const found = blocks.filter((one) => one.includes(marker));
  assert.equal(found.length, 1, `spec/${name} has ${found.length} examples with ${marker}`);
  return found[0] ?? '';
}

const jsonBlock = (name: string, marker: string): Json => parseJson(block(name, 'json', marker), `spec/${name}`);
const plain = (value: unknown): Json => JSON.parse(JSON.stringify(value)) as Json;
const same = (found: unknown, stated: Json, what: string): void => assert.equal(canonicalText(stated), canonicalText(plain(found)), what);

function table(value: Json | undefined): { readonly [key: string]: Json } {
  assert.ok(isTable(value));
  return value;
}

/** When the story is told: seconds since 1970. */
const NOW = Date.parse('2026-06-01T12:00:00Z') / 1000;
const SEEDS = { alpha: 20, beta: 21, gamma: 22, coordinator: 23, checker: 27, 'release-1': 28, 'release-2': 29 } as const;
type Who = keyof typeof SEEDS;
const BUILDERS = ['alpha', 'beta', 'gamma'] as const;
/** Of `hello`, the one output. */
const SIZE = 5;
const FARMS = { alpha: 'example-build-1', beta: 'example-university-1', gamma: 'example-build-2' } as const;
const keyOf = (who: Who): Sha256 => sampleDocumentSigner(SEEDS[who]).key.id;
const log = sampleLogSigner('log.example.org/farm', 1);
/** An hour after the story of spec/log.md, when the checks are done. */
const witnesses = [
  sampleEd25519Witness('witness.example.net/w1', 2, NOW + 3600),
  sampleEd25519Witness('witness.example.edu/w2', 3, NOW + 3601),
];
const policy = (): Policy => parsePolicy(toUtf8(block('policy.md', 'json', '"lockstep-policy/v1"')), 'spec/policy.md');
const root = (): RootMetadata => parseMetadata('root', toUtf8(block('policy.md', 'json', '"_type": "root"'))).signed;

interface Logged {
  readonly who: Who;
  readonly type: string;
  readonly payload: Uint8Array;
}

const document = <T>(who: Who, kind: DocumentKind<T>, json: Json): Logged => {
  assert.ok(readDocument(kind, kind.payloadType, canonicalBytes(json)) !== null);
  return { who, type: kind.payloadType, payload: canonicalBytes(json) };
};
const digestOf = ({ type, payload }: Logged): Sha256 => sha256Hex(pae(type, payload));
const entriesOf = (all: readonly Logged[]): LoggedEntry[] =>
  all.map((one, index) => ({
    index,
    origin: log.key.name,
    payloadType: one.type,
    payload: one.payload,
    digest: digestOf(one),
    signer: keyOf(one.who),
  }));

const opening = jsonBlock('commitment.md', '"lockstep-opening/v1"');
const id = table(opening)['build_id'] as string;

/** The log of spec/log.md: a round, and its outcome. */
function agreedLog(): Logged[] {
  const first = document('coordinator', OPENING, opening);
  const salt = table(jsonBlock('commitment.md', '"lockstep-reveal/v1"'))['salt'] as string;
  const common = { build_id: id, round: 1, opening: digestOf(first) };
  const deals = dealVariations(id, 1, BUILDERS.map(keyOf));
  const members = BUILDERS.map((who) => {
    const deal = deals.find((one) => one.key === keyOf(who));
    const text = canonicalText(jsonBlock('provenance.md', '"_type"'))
      .replaceAll('example-build-1', FARMS[who])
      .replace('"variation":null', `"variation":{"ambient":${canonicalText(plain(deal?.ambient))}}`);
    // Its builders are older than sizes: here they say how large each output is.
    const json = table(parseJson(text));
    assert.ok(Array.isArray(json['subject']));
    const subject = json['subject'].map((one: Json) => ({ ...table(one), annotations: { size: SIZE } }));
    const statement: Logged = { who, type: IN_TOTO_PAYLOAD, payload: canonicalBytes({ ...json, subject }) };
    return { who, statement, salt: who === 'alpha' ? salt : sha256Hex(toUtf8(`salt of ${who}`)) };
  });
  const before = [
    first,
    ...members.map(({ who, statement, salt: own }) => {
      const commitment = commitmentOf({ opening: digestOf(first), key: keyOf(who), salt: own, statement: digestOf(statement) });
      return document(who, COMMITMENT, { ...common, schema: 'lockstep-commitment/v1', commitment });
    }),
    ...members.flatMap(({ who, statement, salt: own }) => [
      document(who, REVEAL, { ...common, schema: 'lockstep-reveal/v1', statement: digestOf(statement), salt: own }),
      statement,
    ]),
  ];
  const decision = plain(redecide(policy(), entriesOf(before), id)?.decision);
  return [...before, document('coordinator', OUTCOME, { ...table(jsonBlock('commitment.md', '"lockstep-outcome/v1"')), decision })];
}

function check(name: string, detail: string): Json {
  const outputs = redecide(policy(), entriesOf(agreedLog()), id)?.decision.accepted ?? null;
  return { schema: 'lockstep-check/v1', build_id: id, outputs, check: name, result: 'pass', detail };
}

const hashes = (): Json => check('hashes', 'the archive of the mirror has the digests of the record');

/** What its checker says next. */
function checkedLog(): Logged[] {
  const signatures = check('signatures', 'the tag of the source is signed by its author');
  return [...agreedLog(), document('checker', CHECK_RESULT, hashes()), document('checker', CHECK_RESULT, signatures)];
}

function derived(): ReleaseRecord {
  const decision = redecide(policy(), entriesOf(checkedLog()), id)?.decision;
  assert.ok(decision !== undefined);
  const source = table(table(jsonBlock('definition.md', '"lockstep-definition/v1"'))['lock'])['source'];
  const record = deriveRelease(
    decision,
    { policy: policy(), log: log.key.name, source: table(source)['ref'] as string },
    { line: 'main', previous: null, time: '2026-06-01T13:05:00Z' },
  );
  assert.ok(typeof record !== 'string');
  return record;
}

/** Both release keys sign it, each an entry of its own. */
function approvedLog(): Logged[] {
  const record = plain(derived());
  return [...checkedLog(), document('release-1', RELEASE, record), document('release-2', RELEASE, record)];
}

function bundlesOf(all: readonly Logged[]): { name: string; bytes: Uint8Array }[] {
  const signed = all.map((one) => ({ ...one, signature: sampleDocumentSigner(SEEDS[one.who]).sign(one.type, one.payload) }));
  const entries = signed.map((one) => formatLogEntry({ ...one, digest: digestOf(one), key: sampleDocumentSigner(SEEDS[one.who]).key }));
  const tree = sampleTree(entries.map(leafHash));
  const checkpoint = sampleSignedCheckpoint({ origin: log.key.name, size: tree.size, root: tree.root, extensions: [] }, [
    log,
    ...witnesses,
  ]);
  return signed.map((one, index) => ({
    name: `entry ${index}`,
    bytes: toUtf8(
      formatBundle({
        payloadType: one.type,
        payload: one.payload,
        signature: one.signature,
        keyHint: keyOf(one.who),
        entry: entries[index] ?? new Uint8Array(0),
        index,
        logId: noteKeyHash(log.key.name, log.key.type, log.key.publicKey),
        proof: tree.proveInclusion(index),
        treeSize: tree.size,
        root: tree.root,
        checkpoint,
      }),
    ),
  }));
}

test('spec/release.md begins with the record that follows from the example log, and names its digest', () => {
  same(derived(), jsonBlock('release.md', '"lockstep-release/v1"'), 'record');
  assert.ok(page('release.md').includes(releaseDigest(derived())), `The digest is ${releaseDigest(derived())}`);
});

test('spec/release.md: the verification summary is the one of that record', () => {
  same(parseJson(fromUtf8(vsaBytes(derived())) ?? ''), jsonBlock('release.md', '"predicateType"'), 'summary');
});

function verdictOfExample() {
  const {
    decision,
    approved,
    witnessedAt: _witnessedAt,
    ...verdict
  } = verifyRelease({
    artifact: { name: 'hello', sha256: sha256Hex(toUtf8('hello')) },
    trust: { policy: policy(), currentUntil: Date.parse('2026-07-01T12:00:00Z') / 1000, root: root() },
    bundles: bundlesOf(approvedLog()),
    complete: true,
    expect: { buildId: id },
    now: NOW + 7200,
  });
  return { decision, approved, verdict };
}

test('spec/release.md: the verdict on the example, from check to approval', () => {
  const { decision, approved, verdict } = verdictOfExample();
  assert.equal(decision?.accepted, derived().outputs);
  assert.equal(approved?.digest, releaseDigest(derived()));
  assert.ok(verdict.ok, JSON.stringify(verdict.steps));
  same(verdict, jsonBlock('release.md', '"lockstep-verdict/v1"'), 'verdict');
});

const NEW = edKey(40);
const OLD = p256Key(SEEDS['release-1']);

const change: KeyChange = {
  schema: 'lockstep-key-change/v1',
  use: 'release-dsse',
  old: OLD.key.id,
  new: anyKeyToPem(NEW.key),
  reason: 'yearly change',
  time: '2026-06-02T09:00:00Z',
  overlap_until: '2026-07-02T09:00:00Z',
  made: 'on a node without a network, from hardware random numbers',
};
const revocation: KeyRevocation = {
  schema: 'lockstep-key-revocation/v1',
  use: 'release-dsse',
  key: OLD.key.id,
  why: 'stolen',
  reason: 'its disk was taken from the office on 1 June',
  time: '2026-06-03T09:00:00Z',
  from: { log: log.key.name, index: 15 },
};
const carrier = (): Json => plain(carry(envelopeOf(KEY_CHANGE, change, [OLD, NEW]), null));

test('spec/release.md: change and revocation hold where the page says, and the carrier is that of the change', () => {
  same(hashes(), jsonBlock('release.md', '"lockstep-check/v1"'), 'check result');
  same(change, jsonBlock('release.md', '"lockstep-key-change/v1"'), 'change');
  same(revocation, jsonBlock('release.md', '"lockstep-key-revocation/v1"'), 'revocation');
  same(carrier(), jsonBlock('release.md', '"lockstep-carried/v1"'), 'carrier');
  const all = [...approvedLog(), document('coordinator', CARRIED, carrier())];
  const keys = releaseKeys(policy(), entriesOf(all), root());
  assert.deepEqual(
    keys.map((one) => [one.seat, one.from]),
    [
      ['release-1', 0],
      ['release-2', 0],
      ['release-1', 15],
    ],
  );
  const byRoot = document('coordinator', CARRIED, plain(carry(envelopeOf(KEY_REVOCATION, revocation, [edKey(30)]), null)));
  const after = releaseKeys(policy(), entriesOf([...all, byRoot]), root());
  // Stolen before the change was logged: so the key that the change names is the thief's.
  assert.deepEqual(
    after.map((one) => [one.seat, one.until]),
    [
      ['release-1', 15],
      ['release-2', Number.POSITIVE_INFINITY],
    ],
  );
  const [approved] = approvedRecords(policy(), entriesOf([...all, byRoot]), root());
  assert.deepEqual(
    approved?.approvals.map((one) => one.seat),
    ['release-1', 'release-2'],
  );
});

test('spec/release.md: the trusted comment, and the bounds of the record', () => {
  assert.ok(page('release.md').includes(`\`${trustedComment(derived(), 'hello')}\``), trustedComment(derived(), 'hello'));
  for (const key of Object.keys(derived())) assert.ok(page('release.md').includes(`\`${key}`), key);
});

const message = (): Uint8Array => pae(KEY_CHANGE.payloadType, formatDocument(KEY_CHANGE, change));
const keyRequest = (): SigningRequest => ({
  schema: 'lockstep-signing-request/v1',
  purpose: 'key',
  nodes: { 'release-node': null },
  time: '2026-06-02T09:00:00Z',
  expected: [{ use: 'release-dsse', file: null, bytes: toBase64(message()) }],
  payload_type: KEY_CHANGE.payloadType,
  payload: toBase64(formatDocument(KEY_CHANGE, change)),
});
const answer = (): SigningRecord => ({
  schema: 'lockstep-signing-record/v1',
  request: requestDigest(formatRequest(keyRequest())),
  node: 'release-node',
  time: '2026-06-02T09:00:07Z',
  result: 'signed',
  step: '',
  reason: '',
  about: 'change a key',
  steps: [],
  release: null,
  tuf: null,
  learned: null,
  signatures: [
    {
      use: 'release-dsse',
      format: 'dsse',
      file: null,
      key: { name: 'release-2027', id: NEW.key.id, pem: anyKeyToPem(NEW.key), number: null },
      message: sha256Hex(message()),
      signature: toBase64(NEW.sign(message())),
      second: null,
    },
  ],
});
/** Shortened, as the page says: without bundles, the policy's files, and the uses with long messages. */
function releaseRequest(): SigningRequest {
  const plan = planRelease(derived(), ['release-minisign', 'release-ssh']);
  assert.ok(typeof plan !== 'string');
  return {
    schema: 'lockstep-signing-request/v1',
    purpose: 'release',
    nodes: { 'release-node': null },
    time: derived().time,
    expected: plan.map(({ use, file, message: bytes }) => ({ use, file, bytes: toBase64(bytes) })),
    build_id: id,
    line: 'main',
    previous: null,
    policy: {},
    bundles: ['{}'],
    consistency: [{ size: 9, hashes: [] }],
  };
}
const refusal = (): SigningRecord => ({
  ...answer(),
  request: requestDigest(formatRequest(releaseRequest())),
  time: '2026-06-01T13:05:02Z',
  result: 'refused',
  step: 'log-inclusion',
  reason: 'bundle 1: Not a Sigstore bundle v0.3 with one DSSE signature',
  about: `build ${id}`,
  steps: EVIDENCE_STEPS.map((name, index) => ({
    name,
    state: index === 0 ? 'pass' : index === 1 ? 'fail' : 'unreached',
    detail:
      ['example farm, version 1, until 2027-06-01T12:00:00Z', 'bundle 1: Not a Sigstore bundle v0.3 with one DSSE signature'][index] ?? '',
  })),
  signatures: [],
});

test('spec/signing-request.md: requests, answer and refusal are of the story, and read as what they are', () => {
  for (const [request, marker] of [
    [keyRequest(), '"purpose": "key"'],
    [releaseRequest(), '"purpose": "release"'],
  ] as const) {
    same(request, jsonBlock('signing-request.md', marker), marker);
    assert.deepEqual(parseRequest(formatRequest(request)), request);
  }
  for (const [record, marker] of [
    [answer(), '"result": "signed"'],
    [refusal(), '"result": "refused"'],
  ] as const) {
    same(record, jsonBlock('signing-request.md', marker), marker);
    assert.deepEqual(readDocument(SIGNING_RECORD, SIGNING_RECORD.payloadType, formatDocument(SIGNING_RECORD, record)), record);
  }
});

test('spec/signing-request.md: the steps in their order, and every use of the plan', () => {
  const text = page('signing-request.md');
  const rows = (from: string, to: string): string[] =>
    [...text.slice(text.indexOf(from), text.indexOf(to)).matchAll(/^\| `([a-z-]+)` \|/gm)].map((match) => match[1] ?? '');
  assert.deepEqual(rows('# The steps for a release', "More are the node's own"), [...EVIDENCE_STEPS]);
  assert.deepEqual(rows('# The plan', 'PAE is'), [...RELEASE_USES]);
});
