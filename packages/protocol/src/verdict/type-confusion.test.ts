/** Each kind of signed or parsed object, offered to every reader that is not its own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519 } from '@noble/curves/ed25519.js';
import { formatBundle, parseBundle } from '../bundle/bundle.ts';
import { openBundle } from '../bundle/open-bundle.ts';
import { type SampleNoteSigner, sampleSignedCheckpoint } from '../bundle/samples.ts';
import { formatTlogProof, parseTlogProof } from '../bundle/tlog-proof.ts';
import { fromUtf8, toUtf8 } from '../bytes/utf8.ts';
import { type Checkpoint, formatCheckpointText } from '../checkpoint/checkpoint.ts';
import { ed25519CosignatureMessage, formatTimestamped, mlDsaCosignatureMessage } from '../checkpoint/cosignature.ts';
import { openCheckpoint, openLogCheckpoint } from '../checkpoint/open.ts';
import { formatWitnessPolicy, parseWitnessPolicy } from '../checkpoint/witness-policy.ts';
import { CLOSING, COMMITMENT, LOG_REFERENCE, OPENING, OUTCOME, RESOLUTION, REVEAL } from '../commitment/documents.ts';
import { decodeDefinition, definitionToJson } from '../definition/definition.ts';
import { sampleLock } from '../definition/samples.ts';
import { sha256Hex } from '../digest/digest.ts';
import { type DocumentKind, formatDocument, readDocument } from '../dsse/document.ts';
import { formatEnvelope, IN_TOTO_PAYLOAD, pae } from '../dsse/envelope.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { canonicalBytes, canonicalText } from '../json/canonical.ts';
import { parseJson } from '../json/parse.ts';
import { publicKeyFromPem, verifyP256 } from '../key/p256.ts';
import { formatLock, parseLock } from '../lock/lock.ts';
import { formatLogEntry, parseLogEntry } from '../log-entry/log-entry.ts';
import { parsePae } from '../log-entry/statement-path.ts';
import { parseManifest } from '../manifest/toml.ts';
import { formatNote } from '../note/note.ts';
import { formatVerifierKey, makeVerifierKey, parseVerifierKey } from '../note/verifier-key.ts';
import { parsePolicy } from '../policy/parse-policy.ts';
import { LOG_SIGNER, samplePem, samplePolicy, samplePolicyJson, sampleSigner, WITNESS_ED25519, WITNESS_ML_DSA } from '../policy/samples.ts';
import { isProblem, readProvenance } from '../provenance/read-provenance.ts';
import { readClaim } from '../quorum/claim.ts';
import { BUILD_ID, DEFINITION, entry, outputs, SampleRound, statementBytes } from '../quorum/samples.ts';
import { requireSignatures } from '../tuf/client-workflow.ts';
import { parseMetadata, type TufRoleName } from '../tuf/metadata.ts';
import {
  keyId,
  rootJson,
  signed,
  signSnapshot,
  signTargets,
  signTimestamp,
  targetsJson,
  tufSignature,
  withSignatures,
} from '../tuf/samples.ts';
import { named, sampleBundlesOf } from './samples.ts';
import { verifyArtifact } from './verify.ts';
import { verifyRelease } from './verify-release.ts';

const [A, B] = [11, 12] as const;
const TIME = 1_760_000_000;
const builder = sampleSigner(A);
const policy = samplePolicy();
const round = new SampleRound(policy, [A, B]).commit(A).close().reveal(A).resolve(41, 'a'.repeat(64), null);
const [opening, commitment, closing, reveal, resolution] = round.entries.map((one) => one.payload);
const checkpoint: Checkpoint = { origin: LOG_SIGNER.key.name, size: 4242, root: new Uint8Array(32).fill(7), extensions: [] };
const note = (...signers: readonly SampleNoteSigner[]): string => sampleSignedCheckpoint(checkpoint, signers);

const outcome = formatDocument(OUTCOME, {
  schema: 'lockstep-outcome/v1',
  build_id: BUILD_ID,
  round: 1,
  log: { origin: checkpoint.origin, size: 1 },
  decision: {},
});
const logReference = formatDocument(LOG_REFERENCE, {
  schema: 'lockstep-log-reference/v1',
  origin: checkpoint.origin,
  size: 1,
  root: 'a'.repeat(64),
  checkpoint: note(LOG_SIGNER),
});

const attestation = (payload: Uint8Array, payloadType: string): string =>
  formatEnvelope({ payloadType, payload, signatures: [{ keyid: builder.key.id, sig: builder.sign(payloadType, payload) }] });

const bundleOf = (payload: Uint8Array, payloadType: string) => sampleBundlesOf([entry(0, A, payloadType, payload)])[0];
const statement = statementBytes();
const bundle = bundleOf(statement, IN_TOTO_PAYLOAD);
assert.ok(bundle !== undefined && opening && commitment && closing && reveal && resolution);

const text = (bytes: Uint8Array): string => fromUtf8(bytes) ?? '';
const document =
  <T>(kind: DocumentKind<T>) =>
  (bytes: Uint8Array): boolean =>
    readDocument(kind, kind.payloadType, bytes) !== null;
const metadata = (name: TufRoleName) => (bytes: Uint8Array) => parseMetadata(name, bytes).signed._type === name;
const cosigned = (by: SampleNoteSigner) => (bytes: Uint8Array) => openCheckpoint(bytes, [by.key]).signedBy.length === 1;

const manifest = `name = "hello"
version = "1"
[source]
ref = "."
[environment]
kind = "host"
[build]
steps = ["make"]
[[outputs]]
files = "out"
`;

/** What it is, an example of it, and who reads it. Readers throw a LockstepError, or say no. */
const KINDS: Readonly<Record<string, readonly [example: Uint8Array | string, read: (bytes: Uint8Array) => boolean]>> = {
  'build attestation': [
    attestation(statement, IN_TOTO_PAYLOAD),
    (bytes) =>
      verifyArtifact({
        attestation: bytes,
        artifact: { name: 'hello', sha256: outputs()[0]?.sha256 ?? '' },
        keys: [{ name: 'builder', key: builder.key }],
        expect: {},
      }).ok,
  ],
  statement: [statement, (bytes) => !isProblem(readProvenance(bytes)) && readClaim(bytes, BUILD_ID, builder.key.id) !== null],
  'pre-authentication encoding': [pae(IN_TOTO_PAYLOAD, statement), (bytes) => parsePae(bytes) !== null],
  opening: [opening, document(OPENING)],
  commitment: [commitment, document(COMMITMENT)],
  closing: [closing, document(CLOSING)],
  reveal: [reveal, document(REVEAL)],
  resolution: [resolution, document(RESOLUTION)],
  outcome: [outcome, document(OUTCOME)],
  'log reference': [logReference, document(LOG_REFERENCE)],
  'checkpoint of a log': [note(LOG_SIGNER), (bytes) => openLogCheckpoint(bytes, LOG_SIGNER.key).signedBy.length > 0],
  'checkpoint cosigned with Ed25519': [note(WITNESS_ED25519), cosigned(WITNESS_ED25519)],
  'checkpoint cosigned with ML-DSA-44': [note(WITNESS_ML_DSA), cosigned(WITNESS_ML_DSA)],
  'verifier key': [formatVerifierKey(LOG_SIGNER.key), (bytes) => parseVerifierKey(text(bytes)).name !== ''],
  'public key': [samplePem(A), (bytes) => publicKeyFromPem(text(bytes)).id !== ''],
  'log entry': [
    formatLogEntry({ digest: sha256Hex(statement), signature: builder.sign('x', statement), key: builder.key }),
    (bytes) => parseLogEntry(bytes).key.id === builder.key.id,
  ],
  'Sigstore bundle': [formatBundle(bundle), (bytes) => openBundle(parseBundle(bytes), [LOG_SIGNER.key], []).signer.id === builder.key.id],
  'tlog-proof': [
    formatTlogProof({ index: 0, proof: [], checkpoint: note(LOG_SIGNER) }),
    (bytes) => parseTlogProof(text(bytes)).index === 0,
  ],
  'witness policy': [
    formatWitnessPolicy({ logs: [{ key: LOG_SIGNER.key, url: null }], witnesses: [], groups: [], quorum: 'none' }),
    (bytes) => parseWitnessPolicy(text(bytes), 'policy').quorum === 'none',
  ],
  'TUF root': [signed(rootJson(), [1, 2]), metadata('root')],
  'TUF targets': [signTargets(), metadata('targets')],
  'TUF snapshot': [signSnapshot(), metadata('snapshot')],
  'TUF timestamp': [signTimestamp(), metadata('timestamp')],
  policy: [canonicalText(samplePolicyJson()), (bytes) => parsePolicy(bytes, 'policy.json').name !== ''],
  definition: [canonicalBytes(definitionToJson(DEFINITION)), (bytes) => decodeDefinition(parseJson(bytes)).ok],
  manifest: [manifest, (bytes) => parseManifest(text(bytes), 'lockstep.toml').name === 'hello'],
  lock: [formatLock(sampleLock()), (bytes) => parseLock(bytes, 'lockstep.lock').schema !== undefined],
};

function takes(read: (bytes: Uint8Array) => boolean, example: Uint8Array | string): boolean {
  try {
    return read(typeof example === 'string' ? toUtf8(example) : example);
  } catch (error) {
    if (error instanceof LockstepError) return false;
    throw error;
  }
}

for (const [kind, [, read]] of Object.entries(KINDS))
  test(`the reader of a ${kind} takes that, and nothing of the ${Object.keys(KINDS).length - 1} other kinds`, () => {
    for (const [other, [example]] of Object.entries(KINDS)) assert.equal(takes(read, example), other === kind, `${other} as ${kind}`);
  });

const DOCUMENTS = { opening, commitment, closing, reveal, resolution, outcome, 'log-reference': logReference };
const TYPES = [
  IN_TOTO_PAYLOAD,
  ...[OPENING, COMMITMENT, CLOSING, REVEAL, RESOLUTION, OUTCOME, LOG_REFERENCE].map((one) => one.payloadType),
];

test('a signature over a document is none over the same bytes as another type', () => {
  for (const [noun, payload] of Object.entries({ ...DOCUMENTS, statement })) {
    const own = noun === 'statement' ? IN_TOTO_PAYLOAD : `application/vnd.lockstep.${noun}+json`;
    const signature = builder.sign(own, payload);
    for (const type of TYPES) assert.equal(verifyP256(builder.key, pae(type, payload), signature), type === own, `${noun} as ${type}`);
    assert.equal(verifyP256(builder.key, payload, signature), false, 'the bare payload');
    const other = bundleOf(payload, own);
    assert.ok(other !== undefined);
    for (const type of TYPES) {
      const relabelled = (): unknown => openBundle({ ...other, payloadType: type }, [LOG_SIGNER.key], []);
      if (type === own) assert.doesNotThrow(relabelled);
      else assert.throws(relabelled, LockstepError, `${noun} as ${type}`);
    }
  }
});

test('a document of another kind, correctly signed under the type of a statement, is no statement of a build', () => {
  for (const payload of Object.values(DOCUMENTS)) {
    const keys = [{ name: 'builder', key: builder.key }];
    const artifact = { name: 'hello', sha256: outputs()[0]?.sha256 ?? '' };
    const verdict = verifyArtifact({ attestation: toUtf8(attestation(payload, IN_TOTO_PAYLOAD)), artifact, keys, expect: {} });
    assert.deepEqual([verdict.ok, verdict.steps.find((one) => one.state === 'fail')?.name], [false, 'statement']);
  }
  // And a statement under the type of another document counts for nobody.
  for (const type of TYPES.slice(1)) {
    const bundles = named(sampleBundlesOf([entry(0, A, type, statement), entry(1, B, type, statement)]));
    const artifact = { name: 'hello', sha256: outputs()[0]?.sha256 ?? '' };
    const trust = { policy, currentUntil: TIME + 10, root: null };
    const verdict = verifyRelease({ artifact, trust, bundles, complete: true, expect: {}, now: TIME });
    assert.deepEqual([verdict.ok, verdict.steps.find((one) => one.state === 'fail')?.name], [false, 'subject'], type);
  }
});

const secret = (number: number): Uint8Array => new Uint8Array(32).fill(number);
const noteBy = (key: SampleNoteSigner['key'], signature: Uint8Array, body = formatCheckpointText(checkpoint)): string =>
  formatNote({ text: body, signatures: [{ name: key.name, keyId: key.keyId, signature }] });
const isNoteInvalid = (error: unknown): boolean => error instanceof LockstepError && error.code === 'NOTE_INVALID';

test('a log’s signature is no cosignature, and a cosignature none of a log, although the key is the same', () => {
  const plain = ed25519.sign(toUtf8(formatCheckpointText(checkpoint)), secret(2));
  const cosignature = ed25519.sign(ed25519CosignatureMessage(checkpoint, TIME), secret(2));
  const witness = WITNESS_ED25519.key;
  const asLog = makeVerifierKey(checkpoint.origin, 'ed25519', witness.publicKey);
  assert.equal(openCheckpoint(noteBy(witness, formatTimestamped(TIME, cosignature)), [witness]).signedBy.length, 1);
  assert.equal(openCheckpoint(noteBy(asLog, plain), [asLog]).signedBy.length, 1);
  for (const signature of [
    formatTimestamped(TIME, plain),
    plain,
    cosignature,
    formatTimestamped(TIME + 1, cosignature),
    formatTimestamped(0, cosignature),
  ])
    assert.throws(() => openCheckpoint(noteBy(witness, signature), [witness]), isNoteInvalid);
  for (const signature of [formatTimestamped(TIME, cosignature), cosignature, formatTimestamped(TIME, plain)])
    assert.throws(() => openLogCheckpoint(noteBy(asLog, signature), asLog), isNoteInvalid);
  // The text that a witness signs, taken for a checkpoint of its own: its first line would be an origin.
  const message = text(ed25519CosignatureMessage(checkpoint, TIME));
  assert.throws(() => openCheckpoint(noteBy(asLog, cosignature, message), [asLog]), LockstepError);
  // A witness's key id names its type: the same key as a log's has another id, and is then a stranger.
  assert.deepEqual(openCheckpoint(noteBy(asLog, plain), [witness]).signedBy, []);
});

test('an Ed25519 and an ML-DSA-44 cosignature are none of each other, of another witness or of another tree', () => {
  const [classic, quantum] = [WITNESS_ED25519, WITNESS_ML_DSA];
  assert.throws(() => openCheckpoint(noteBy(quantum.key, classic.sign(checkpoint)), [quantum.key]), isNoteInvalid);
  assert.throws(() => openCheckpoint(noteBy(classic.key, quantum.sign(checkpoint)), [classic.key]), isNoteInvalid);
  const renamed = makeVerifierKey('witness.example/other', 'cosignature-ml-dsa-44', quantum.key.publicKey);
  assert.throws(() => openCheckpoint(noteBy(renamed, quantum.sign(checkpoint)), [renamed]), isNoteInvalid, 'its name is signed');
  for (const one of [classic, quantum])
    for (const other of [
      { ...checkpoint, size: 4243 },
      { ...checkpoint, origin: 'log.example/other' },
      { ...checkpoint, root: new Uint8Array(32) },
    ])
      assert.throws(() => openCheckpoint(noteBy(one.key, one.sign(other)), [one.key]), isNoteInvalid);
  assert.notDeepEqual(ed25519CosignatureMessage(checkpoint, TIME), mlDsaCosignatureMessage(classic.key.name, checkpoint, TIME));
});

test('a key of the TUF root signs no checkpoint by signing metadata, nor metadata by signing a checkpoint', () => {
  const { publicKey } = makeVerifierKey(checkpoint.origin, 'ed25519', ed25519.getPublicKey(secret(4)));
  const asLog = makeVerifierKey(checkpoint.origin, 'ed25519', publicKey);
  const { signed: root } = parseMetadata('root', signed(rootJson(), [1, 2]));
  const ofMetadata = Uint8Array.from(Buffer.from(tufSignature(4, targetsJson()), 'hex'));
  assert.throws(() => openLogCheckpoint(noteBy(asLog, ofMetadata), asLog), isNoteInvalid);
  const metadataText = canonicalText(targetsJson());
  for (const body of [metadataText, `${metadataText}\n`]) {
    const own = ed25519.sign(toUtf8(body), secret(4));
    assert.throws(() => openLogCheckpoint(noteBy(asLog, own, body), asLog), LockstepError, 'metadata as the text of a note');
  }
  const ofNote = Buffer.from(ed25519.sign(toUtf8(formatCheckpointText(checkpoint)), secret(4))).toString('hex');
  const ofWitness = Buffer.from(ed25519.sign(ed25519CosignatureMessage(checkpoint, TIME), secret(4))).toString('hex');
  const second = { keyid: keyId(5), sig: tufSignature(5, targetsJson()) };
  for (const sig of [ofNote, ofWitness, tufSignature(4, rootJson()), tufSignature(4, { signed: targetsJson() })]) {
    const bytes = withSignatures(targetsJson(), [{ keyid: keyId(4), sig }, second]);
    assert.throws(() => requireSignatures('targets', parseMetadata('targets', bytes), root), /signed by 1 of the 2/);
  }
});
