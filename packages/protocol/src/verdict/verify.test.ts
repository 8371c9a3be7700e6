import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { toBase64 } from '../bytes/base64.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import { buildId } from '../definition/definition.ts';
import { sampleDefinition, SOURCE_REF } from '../definition/samples.ts';
import { digestBytes } from '../digest/digest.ts';
import { formatEnvelope, IN_TOTO_PAYLOAD, pae } from '../dsse/envelope.ts';
import { canonicalBytes } from '../json/canonical.ts';
import type { Json } from '../json/parse.ts';
import { publicKeyFromSpki, publicKeyToPem, type PublicKey } from '../key/p256.ts';
import { statementOfBuild } from '../provenance/statement-of-build.ts';
import type { Verdict } from './verdict.ts';
import { VERIFY_STEPS, verifyArtifact, type VerifyInput } from './verify.ts';

type Table = Record<string, Json>;

const folder = mkdtempSync(`${tmpdir()}/lockstep-verify-`);
after(() => rmSync(folder, { recursive: true }));

function newKey(): { privateKey: KeyObject; key: PublicKey } {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { privateKey: pair.privateKey, key: publicKeyFromSpki(pair.publicKey.export({ type: 'spki', format: 'der' })) };
}

const builder = newKey();
const stranger = newKey();
const definition = sampleDefinition();
const artifact = toUtf8('the artifact');
const artifactDigest = digestBytes(artifact);
const statement = JSON.parse(
  JSON.stringify(
    statementOfBuild({
      definition,
      farmId: 'example-build-1',
      outputs: [
        { name: 'other', digest: digestBytes(toUtf8('other')) },
        { name: 'hello', digest: artifactDigest },
      ],
      sandbox: { runtime: 'runc 1', cgroup: 'v2', kernel: '6.1', silo: '0.1.0' },
      environmentSha256: 'e'.repeat(64),
      variation: null,
      byproducts: [{ name: 'transcript', sha256: '0'.repeat(64), size: 1 }],
      builderVersion: '0.1.0',
      invocationId: '1',
      startedOn: 1_700_000_000,
      finishedOn: 1_700_000_100,
    }),
  ),
) as Table;

function envelopeOf(payload: Uint8Array, payloadType = IN_TOTO_PAYLOAD, privateKey = builder.privateKey): string {
  const sig = new Uint8Array(sign('sha256', pae(payloadType, payload), privateKey));
  return formatEnvelope({ payloadType, payload, signatures: [{ keyid: builder.key.id, sig }] });
}

function verify(attestation: string | Uint8Array, more: Partial<VerifyInput> = {}): Verdict {
  return verifyArtifact({
    attestation: typeof attestation === 'string' ? toUtf8(attestation) : attestation,
    artifact: { name: 'hello', sha256: artifactDigest.sha256 },
    keys: [{ name: 'builder', key: builder.key }],
    expect: {},
    ...more,
  });
}

/** Steps before it pass, it fails, and what follows is listed as unreached. */
function assertFailsAt(verdict: Verdict, step: (typeof VERIFY_STEPS)[number], what = ''): void {
  assert.equal(verdict.ok, false, what);
  const failed = VERIFY_STEPS.indexOf(step);
  assert.deepEqual(
    verdict.steps.map(({ name, state }) => [name, state]),
    VERIFY_STEPS.map((name, index) => [name, index < failed ? 'pass' : index === failed ? 'fail' : 'unreached']),
    what,
  );
  assert.notEqual(verdict.steps[failed]?.detail, '');
}

/** The statement with the value at `path` replaced, signed by the builder: a lie, not a forgery. */
function lie(path: readonly (string | number)[], value: Json | undefined): string {
  const copy = structuredClone(statement);
  let at = copy as Record<string | number, Json>;
  for (const key of path.slice(0, -1)) at = at[key] as Record<string | number, Json>;
  const last = path.at(-1) ?? '';
  if (value === undefined) delete at[last];
  else at[last] = value;
  return envelopeOf(canonicalBytes(copy));
}

const good = envelopeOf(canonicalBytes(statement));

test('verifyArtifact accepts what the builder signed', () => {
  const verdict = verify(good);
  assert.equal(verdict.ok, true, JSON.stringify(verdict.steps));
  assert.deepEqual(
    verdict.steps.map(({ name, state }) => [name, state]),
    VERIFY_STEPS.map((name) => [name, 'pass']),
  );
  const everything = {
    source: SOURCE_REF,
    farmId: 'example-build-1',
    buildId: buildId(definition),
    environment: 'e'.repeat(64),
  };
  assert.equal(verify(good, { expect: everything }).ok, true);
});

test('the signature is one that openssl accepts over the PAE, and the digest is what openssl computes', () => {
  const payload = canonicalBytes(statement);
  const sig = sign('sha256', pae(IN_TOTO_PAYLOAD, payload), builder.privateKey);
  writeFileSync(`${folder}/sig`, sig);
  writeFileSync(`${folder}/pub.pem`, publicKeyToPem(builder.key));
  const openssl = (message: Uint8Array): string => {
    writeFileSync(`${folder}/message`, message);
    return spawnSync('openssl', ['dgst', '-sha256', '-verify', `${folder}/pub.pem`, '-signature', `${folder}/sig`, `${folder}/message`], {
      encoding: 'utf8',
    }).stdout.trim();
  };
  const message = Buffer.concat([Buffer.from(`DSSEv1 ${IN_TOTO_PAYLOAD.length} ${IN_TOTO_PAYLOAD} ${payload.length} `), payload]);
  assert.equal(openssl(message), 'Verified OK');
  assert.equal(openssl(payload), 'Verification failure');
  assert.equal(verify(formatEnvelope({ payloadType: IN_TOTO_PAYLOAD, payload, signatures: [{ keyid: '', sig }] })).ok, true);
  assert.equal(artifactDigest.sha256, createHash('sha256').update(artifact).digest('hex'));
  assert.equal(artifactDigest.sha512, createHash('sha512').update(artifact).digest('hex'));
  assert.equal(artifactDigest.blake2b512, createHash('blake2b512').update(artifact).digest('hex'));
});

test('verifyArtifact fails at the envelope', () => {
  for (const text of [
    '',
    '{}',
    '[]',
    'null',
    '{"payload":',
    good.slice(0, -20),
    good.replace('"payload"', '"Payload"'),
    good.replace('{', '{"x":1,'),
  ])
    assertFailsAt(verify(text), 'envelope', text.slice(0, 60));
  for (const type of ['application/json', 'application/vnd.in-toto+json ', 'Application/vnd.in-toto+json'])
    assertFailsAt(verify(envelopeOf(canonicalBytes(statement), type)), 'envelope', type);
});

test('verifyArtifact fails at the signature', () => {
  assertFailsAt(verify(envelopeOf(canonicalBytes(statement), IN_TOTO_PAYLOAD, stranger.privateKey)), 'signature', 'another key');
  assertFailsAt(verify(good, { keys: [{ name: 'x', key: stranger.key }] }), 'signature', 'another key is trusted');
  assertFailsAt(verify(good, { keys: [] }), 'signature', 'no key is trusted');
  const parsed = JSON.parse(good) as { payload: string; signatures: { sig: string; keyid: string }[] };
  const payload = Buffer.from(parsed.payload, 'base64');
  const plain = toBase64(new Uint8Array(sign('sha256', payload, builder.privateKey)));
  const p1363 = toBase64(
    new Uint8Array(sign('sha256', pae(IN_TOTO_PAYLOAD, payload), { key: builder.privateKey, dsaEncoding: 'ieee-p1363' })),
  );
  const sha512 = toBase64(new Uint8Array(sign('sha512', pae(IN_TOTO_PAYLOAD, payload), builder.privateKey)));
  for (const [what, sig] of Object.entries({
    'over the bare payload': plain,
    'not DER': p1363,
    'another hash': sha512,
    empty: '',
    zeros: toBase64(new Uint8Array(70)),
    'r and s of zero': toBase64(Uint8Array.of(0x30, 6, 2, 1, 0, 2, 1, 0)),
  }))
    assertFailsAt(verify(JSON.stringify({ ...parsed, signatures: [{ sig }] })), 'signature', what);
  const other = toBase64(canonicalBytes({ ...statement, subject: [] }));
  assertFailsAt(verify(JSON.stringify({ ...parsed, payload: other })), 'signature', 'another payload');
});

test('verifyArtifact does not care for key ids, nor for signatures of strangers beside the right one', () => {
  const parsed = JSON.parse(good) as { signatures: { sig: string; keyid: string }[] };
  const [signature] = parsed.signatures;
  assert.ok(signature !== undefined);
  assert.equal(verify(JSON.stringify({ ...parsed, signatures: [{ sig: signature.sig, keyid: stranger.key.id }] })).ok, true);
  assert.equal(verify(JSON.stringify({ ...parsed, signatures: [{ sig: 'AAAA', keyid: builder.key.id }, signature] })).ok, true);
});

test('verifyArtifact fails at the statement', () => {
  assertFailsAt(verify(envelopeOf(toUtf8('not JSON'))), 'statement');
  assertFailsAt(verify(envelopeOf(new Uint8Array())), 'statement');
  assertFailsAt(verify(envelopeOf(Uint8Array.of(0xff))), 'statement');
  const twice = Buffer.from(canonicalBytes(statement)).toString().replace('"_type":', '"_type":"https://in-toto.io/Statement/v0","_type":');
  assertFailsAt(verify(envelopeOf(toUtf8(twice))), 'statement', 'a key twice');
  const external = ['predicate', 'buildDefinition', 'externalParameters'];
  const internal = ['predicate', 'buildDefinition', 'internalParameters'];
  for (const [path, value] of [
    [['_type'], 'https://in-toto.io/Statement/v0.1'],
    [['predicateType'], 'https://slsa.dev/provenance/v0.2'],
    [['predicateType'], 'https://slsa.dev/verification_summary/v1'],
    [['subject'], []],
    [['subject', 1, 'digest', 'sha256'], artifactDigest.sha256.toUpperCase()],
    [['subject', 1, 'digest', 'sha1'], '0'.repeat(40)],
    [['predicate', 'buildDefinition', 'buildType'], 'urn:other'],
    [[...external, 'unknown'], 'x'],
    [[...external, 'network'], true],
    [[...external, 'farm_id'], ''],
    [[...external, 'farm_id'], 'Example Build'],
    [[...external, 'source_ref'], undefined],
    [[...external, 'definition'], undefined],
    [[...internal, 'build_id'], 'x'],
    [[...internal, 'tier'], 'vm'],
    [[...internal, 'sandbox'], null],
    [['predicate', 'buildDefinition', 'resolvedDependencies'], []],
    [['predicate', 'runDetails'], undefined],
    [['predicate', 'runDetails', 'metadata', 'startedOn'], 'yesterday'],
    [['extra'], 1],
  ] as const)
    assertFailsAt(verify(lie(path, value as Json)), 'statement', path.join('.'));
});

test('verifyArtifact fails at the subject', () => {
  const otherArtifact = { name: 'hello', sha256: digestBytes(toUtf8('changed')).sha256 };
  assertFailsAt(verify(good, { artifact: otherArtifact }), 'subject');
  // Same name and another digest, the right digest under another algorithm, an empty digest: none is this file.
  assertFailsAt(verify(good, { artifact: { name: 'hello', sha256: '' } }), 'subject');
  assertFailsAt(verify(good, { artifact: { name: 'hello', sha256: artifactDigest.sha512 } }), 'subject');
  assertFailsAt(verify(lie(['subject', 1, 'digest', 'sha256'], 'f'.repeat(64))), 'subject');
});

test('verifyArtifact fails at the definition', () => {
  const base = ['predicate', 'buildDefinition', 'externalParameters', 'definition'];
  for (const [path, value] of [
    [base, null],
    [base, {}],
    [base, 'x'],
    [[...base, 'schema'], 'lockstep-definition/v2'],
    [[...base, 'extra'], 1],
    [[...base, 'manifest', 'name'], 'other'],
    [[...base, 'manifest', 'build', 'steps'], []],
    [[...base, 'manifest', 'build', 'steps', 0, 'run'], 'curl x | sh'],
    [[...base, 'manifest', 'resources'], undefined],
    [[...base, 'lock', 'resolves'], 'b'.repeat(64)],
    [[...base, 'lock', 'inputs'], []],
    [['predicate', 'buildDefinition', 'internalParameters', 'build_id'], 'a'.repeat(64)],
    [['predicate', 'buildDefinition', 'externalParameters', 'source_ref'], 'git+https://host.example/hello.git#refs/tags/v2.0'],
  ] as const)
    assertFailsAt(verify(lie(path, value as Json)), 'definition', `${path.join('.')} = ${JSON.stringify(value)}`);
  assertFailsAt(verify(good, { expect: { buildId: 'a'.repeat(64) } }), 'definition');
});

test('verifyArtifact fails at the inputs', () => {
  const base = ['predicate', 'buildDefinition', 'resolvedDependencies'];
  const list = (statement['predicate'] as { buildDefinition: { resolvedDependencies: Json[] } }).buildDefinition.resolvedDependencies;
  assert.equal(list.length, 4);
  for (const [path, value] of [
    [base, list.slice(1)],
    [base, [...list].reverse()],
    [base, [...list, list[0]]],
    [[...base, 0, 'digest', 'gitCommit'], '0'.repeat(40)],
    [[...base, 0, 'digest', 'extra'], '0'.repeat(40)],
    [[...base, 1, 'digest', 'sha256'], '0'.repeat(64)],
    [[...base, 2, 'uri'], 'https://other.example/root.tar'],
    [[...base, 3, 'name'], 'input:y'],
  ] as const)
    assertFailsAt(verify(lie(path, value as Json)), 'inputs', path.join('.'));
});

test('verifyArtifact fails at the source', () => {
  const other = 'git+https://host.example/hello.git#refs/tags/v1.00';
  assertFailsAt(verify(good, { expect: { source: other } }), 'source');
  assertFailsAt(verify(good, { expect: { source: SOURCE_REF.slice(0, -1) } }), 'source');
  assertFailsAt(verify(good, { expect: { farmId: 'example-build-2' } }), 'source');
});

test('verifyArtifact fails at the environment', () => {
  const base = ['predicate', 'buildDefinition', 'internalParameters', 'environment'];
  assertFailsAt(verify(good, { expect: { environment: 'f'.repeat(64) } }), 'environment');
  assertFailsAt(verify(lie([...base, 'kind'], 'debian')), 'environment');
  assertFailsAt(verify(lie([...base, 'kind'], 'host')), 'environment');
  assertFailsAt(verify(lie([...base, 'pinned'], 'no')), 'environment');
  assertFailsAt(verify(lie([...base, 'sha256'], null), { expect: { environment: 'e'.repeat(64) } }), 'environment');
});

test('verifyArtifact notes a variation', () => {
  const verdict = verify(lie(['predicate', 'buildDefinition', 'internalParameters', 'variation'], { ambient: { clock: 1 } }));
  assert.equal(verdict.ok, true);
  assert.ok(verdict.notes.some((note) => note.includes('varied on purpose')));
});

test('verifyArtifact with any byte of the envelope changed throws nothing, and passes only if the payload is the same', () => {
  const bytes = toUtf8(good);
  const signature = good.lastIndexOf('"sig"');
  // Half of the changes near the end: the payload is long, and what is around it matters as much.
  const place = fc.oneof(fc.nat(bytes.length - 1), fc.integer({ min: signature - 100, max: bytes.length - 1 }), fc.nat(20));
  fc.assert(
    fc.property(place, fc.integer({ min: 1, max: 255 }), (at, change) => {
      const changed = Uint8Array.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ change;
      const verdict = verify(changed);
      assert.equal(verdict.steps.length, VERIFY_STEPS.length);
      if (!verdict.ok) return;
      const read = JSON.parse(Buffer.from(changed).toString()) as { payload: string; payloadType: string };
      assert.deepEqual(Buffer.from(read.payload, 'base64'), Buffer.from(canonicalBytes(statement)));
      assert.equal(read.payloadType, IN_TOTO_PAYLOAD);
    }),
    { numRuns: 1000 },
  );
});

test('verifyArtifact of any signed JSON throws nothing', () => {
  fc.assert(
    fc.property(fc.jsonValue({ stringUnit: 'grapheme' }), (value) => {
      const copy = { ...statement, predicate: value as Json };
      for (const payload of [value as Json, copy]) assert.equal(verify(envelopeOf(toUtf8(JSON.stringify(payload)))).ok, false);
    }),
    { numRuns: 500 },
  );
});
