/** What we write is read by Sigstore's own verifier, unmodified; what was changed is refused by it and by ours. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { bundleFromJSON } from '@sigstore/bundle';
import { TrustedRoot } from '@sigstore/protobuf-specs';
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';
import fc from 'fast-check';
import { toUtf8 } from '../bytes/utf8.ts';
import { parseCheckpointText } from '../checkpoint/checkpoint.ts';
import { pae } from '../dsse/envelope.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { publicKeyToPem } from '../key/p256.ts';
import { formatLogEntry, isSignedEntry, parseLogEntry } from '../log-entry/log-entry.ts';
import { leafHash } from '../merkle/hash.ts';
import { sampleTree } from '../merkle/samples.ts';
import { formatNote, parseNote } from '../note/note.ts';
import { noteKeyHash, type VerifierKey } from '../note/verifier-key.ts';
import { type Bundle, formatBundle, parseBundle } from './bundle.ts';
import { openBundle } from './open-bundle.ts';
import {
  sampleDigest,
  sampleDocumentSigner,
  sampleEd25519Witness,
  sampleLog,
  sampleLogSigner,
  sampleMlDsaWitness,
  sampleSignedCheckpoint,
} from './samples.ts';
import { trustedRootOf } from './trusted-root.ts';

const SIZE = 300;
const log = sampleLogSigner();
const otherLog = sampleLogSigner('log.example/other', 7);
const witnesses = [sampleEd25519Witness(), sampleMlDsaWitness()];
const sample = sampleLog(SIZE, [log, ...witnesses]);
const good = sample.bundle(137);
const spki = (signer = sampleDocumentSigner()) => createPublicKey({ key: Buffer.from(signer.key.spki), format: 'der', type: 'spki' });

const folder = mkdtempSync(`${tmpdir()}/lockstep-bundle-`);
after(() => rmSync(folder, { recursive: true, force: true }));

/** @returns what Sigstore says against it, or null */
function sigstore(json: unknown, logs: readonly VerifierKey[] = [log.key], signer = sampleDocumentSigner()): string | null {
  const material = toTrustMaterial(TrustedRoot.fromJSON(trustedRootOf(logs, '2020-01-01T00:00:00Z')), () => ({
    publicKey: spki(signer),
    validFor: () => true,
  }));
  const verifier = new Verifier(material, { tlogThreshold: 1, ctlogThreshold: 0, timestampThreshold: 0 });
  try {
    verifier.verify(toSignedEntity(bundleFromJSON(json)));
    return null;
  } catch (error) {
    return error instanceof Error ? `${error.name} ${error.message}` : String(error);
  }
}

/** @returns the code of the refusal, or null */
function ours(json: unknown, logs: readonly VerifierKey[] = [log.key]): string | null {
  try {
    openBundle(
      parseBundle(toUtf8(JSON.stringify(json))),
      logs,
      witnesses.map((one) => one.key),
    );
    return null;
  } catch (error) {
    assert.ok(error instanceof LockstepError, `${String(error)} is not an error of ours`);
    return error.code;
  }
}

const jsonOf = (bundle: Bundle): unknown => JSON.parse(formatBundle(bundle));
const flip = (bytes: Uint8Array, at: number, bit = 0): Uint8Array => bytes.with(at, bytes[at]! ^ (1 << bit));
const replaceText = (bundle: Bundle, change: (text: string) => string): string => {
  const note = parseNote(bundle.checkpoint);
  return formatNote({ ...note, text: change(note.text) });
};

test('bundles of every entry are accepted by @sigstore/verify and by openBundle, which agree on the signer', () => {
  for (let index = 0; index < SIZE; index += 1) {
    const bundle = sample.bundle(index);
    if (index % 10 === 0) assert.equal(sigstore(jsonOf(bundle)), null, `index ${index}`);
    const opened = openBundle(parseBundle(toUtf8(formatBundle(bundle))), [otherLog.key, log.key], []);
    assert.equal(opened.index, index);
    assert.equal(opened.digest, Buffer.from(sampleDigest(bundle)).toString('hex'));
    assert.equal(opened.signer.id, sampleDocumentSigner().key.id);
    assert.equal(opened.log, log.key);
  }
});

test('bundles are accepted whatever the size of the log', () => {
  for (const size of [1, 2, 3, 5, 8, 255, 256, 257]) {
    const other = sampleLog(size, [log]);
    for (const index of new Set([0, size >> 1, size - 1])) {
      assert.equal(sigstore(jsonOf(other.bundle(index))), null, `${index} of ${size}`);
      assert.equal(ours(jsonOf(other.bundle(index))), null, `${index} of ${size}`);
    }
  }
});

test('openBundle tells who has witnessed the checkpoint, and Sigstore is not disturbed by it', () => {
  const opened = openBundle(good, [log.key], [witnesses[1]!.key]);
  assert.deepEqual(
    opened.opened.signedBy.map(({ key, time }) => [key.type, time]),
    [
      ['ed25519', null],
      ['cosignature-ml-dsa-44', 1_760_000_000],
    ],
  );
});

test('formatBundle and parseBundle are inverse', () => {
  fc.assert(
    fc.property(fc.nat(SIZE - 1), fc.string({ unit: 'grapheme', maxLength: 40 }), (index, keyHint) => {
      const bundle = { ...sample.bundle(index), keyHint };
      const text = formatBundle(bundle);
      assert.deepEqual(parseBundle(toUtf8(text)), bundle);
      assert.equal(formatBundle(parseBundle(toUtf8(text))), text);
    }),
    { numRuns: 50 },
  );
});

const others = sample.bundle(138);
const entryOfOther: Bundle = { ...others, payload: good.payload, signature: good.signature };
const forged = parseLogEntry(good.entry);
/** An entry that the log really has, which pairs a good document with a signature over another. */
function logged(entry: Uint8Array): Partial<Bundle> {
  const tree = sampleTree(sample.entries.with(137, entry).map(leafHash));
  const checkpoint = sampleSignedCheckpoint({ origin: log.key.name, size: SIZE, root: tree.root, extensions: [] }, [log]);
  return { entry, proof: tree.proveInclusion(137), root: tree.root, checkpoint };
}

/** Each refused by both. */
const tampered: Readonly<Record<string, Partial<Bundle>>> = {
  'the payload has another bit': { payload: flip(good.payload, 3) },
  'the payload is that of another entry': { payload: others.payload },
  'the payload is empty': { payload: new Uint8Array(0) },
  'the payload type is another': { payloadType: 'application/json' },
  'the signature has another bit': { signature: flip(good.signature, 20) },
  'the signature is that of another entry': { signature: others.signature },
  'the signature is cut': { signature: good.signature.slice(0, -1) },
  'the entry has another bit': { entry: flip(good.entry, 100) },
  'the entry is that of another document, proof and all (CVE-2026-22703)': entryOfOther,
  'the entry is that of another document': { entry: others.entry },
  'the entry is logged for another document, with this signature': logged(
    formatLogEntry({ ...forged, digest: parseLogEntry(others.entry).digest }),
  ),
  'the entry is logged for this document, with another signature': logged(formatLogEntry({ ...forged, signature: others.signature })),
  'the signature is that of another entry, and logged so': {
    signature: others.signature,
    ...logged(formatLogEntry({ ...forged, signature: others.signature })),
  },
  'the index is the next': { index: good.index + 1 },
  'the index is behind the end': { index: SIZE },
  'the index is far away': { index: 2 ** 53 - 1 },
  'the first hash of the proof has another bit': { proof: good.proof.with(0, flip(good.proof[0]!, 0)) },
  'the last hash of the proof has another bit': { proof: good.proof.with(good.proof.length - 1, flip(good.proof.at(-1)!, 31, 7)) },
  'a hash of the proof is missing': { proof: good.proof.slice(1) },
  'a hash of the proof is one too many': { proof: [...good.proof, good.root] },
  'the proof is empty': { proof: [] },
  'the checkpoint says another size': { checkpoint: replaceText(good, (text) => text.replace('300', '301')), treeSize: 301 },
  'the checkpoint says another root': { checkpoint: replaceText(good, (text) => text.replace(/\n.{43}=\n/, `\n${'A'.repeat(43)}=\n`)) },
  'the checkpoint says another origin': { checkpoint: replaceText(good, (text) => text.replace('farm', 'fair')) },
  'the checkpoint has an extension line that was not signed': { checkpoint: replaceText(good, (text) => `${text}more\n`) },
  'the checkpoint has no signature': { checkpoint: `${parseNote(good.checkpoint).text}\n` },
  'the checkpoint has only the witnesses’ signatures': {
    checkpoint: formatNote({ ...parseNote(good.checkpoint), signatures: parseNote(good.checkpoint).signatures.slice(1) }),
  },
  'the checkpoint’s signature has another bit': {
    checkpoint: formatNote({
      ...parseNote(good.checkpoint),
      signatures: parseNote(good.checkpoint).signatures.map((one, at) => (at === 0 ? { ...one, signature: flip(one.signature, 9) } : one)),
    }),
  },
  'the checkpoint is one of another log, which signed our tree': {
    checkpoint: sampleSignedCheckpoint({ ...parseCheckpointText(parseNote(good.checkpoint).text), origin: otherLog.key.name }, [otherLog]),
  },
  'the log id is that of another log': { logId: noteKeyHash(otherLog.key.name, otherLog.key.type, otherLog.key.publicKey) },
  'the log id has another bit': { logId: flip(good.logId, 31) },
};

for (const [what, change] of Object.entries(tampered)) {
  test(`a bundle is refused by Sigstore and by openBundle when ${what}`, () => {
    const json = jsonOf({ ...good, ...change });
    assert.notEqual(sigstore(json), null, 'Sigstore');
    assert.notEqual(ours(json), null, 'openBundle');
    assert.notEqual(sigstore(json, [log.key, otherLog.key]), null, 'Sigstore that knows both logs');
    assert.notEqual(ours(json, [log.key, otherLog.key]), null, 'openBundle that knows both logs');
  });
}

test('a bundle is refused by both when its log is another than those that are known', () => {
  assert.equal(ours(jsonOf(good), [otherLog.key]), 'BUNDLE_INVALID');
  assert.notEqual(sigstore(jsonOf(good), [otherLog.key]), null);
  const impostor = sampleLogSigner(log.key.name, 8);
  assert.equal(ours(jsonOf(good), [impostor.key]), 'BUNDLE_INVALID');
  assert.notEqual(sigstore(jsonOf(good), [impostor.key]), null);
});

test('a bundle whose document somebody else signed is theirs: Sigstore refuses it for our key, openBundle names the signer', () => {
  assert.notEqual(sigstore(jsonOf(good), [log.key], sampleDocumentSigner(10)), null);
  const signer = sampleDocumentSigner(10);
  const signature = signer.sign(good.payloadType, good.payload);
  const theirs = { ...good, signature, ...logged(formatLogEntry({ digest: forged.digest, signature, key: signer.key })) };
  assert.notEqual(sigstore(jsonOf(theirs)), null);
  assert.equal(sigstore(jsonOf(theirs), [log.key], signer), null);
  assert.equal(openBundle(theirs, [log.key], []).signer.id, signer.key.id);
});

test('openBundle refuses what Sigstore does not look at: two indexes, another root or size, a bad cosignature, the key in the entry', () => {
  const change = (edit: (entry: Record<string, never>, proof: Record<string, unknown>) => void): unknown => {
    const json = jsonOf(good) as { verificationMaterial: { tlogEntries: { inclusionProof: Record<string, unknown> }[] } };
    const entry = json.verificationMaterial.tlogEntries[0]!;
    edit(entry as unknown as Record<string, never>, entry.inclusionProof);
    return json;
  };
  const cosignatures = parseNote(good.checkpoint).signatures.map((one, at) =>
    at === 2 ? { ...one, signature: flip(one.signature, 99) } : one,
  );
  const { key } = sampleDocumentSigner(10);
  for (const json of [
    jsonOf({ ...good, ...logged(formatLogEntry({ ...forged, key })) }),
    change((entry) => Object.assign(entry, { logIndex: '5' })),
    change((_, proof) => Object.assign(proof, { treeSize: '301' })),
    change((_, proof) => Object.assign(proof, { rootHash: Buffer.alloc(32).toString('base64') })),
    jsonOf({ ...good, checkpoint: formatNote({ ...parseNote(good.checkpoint), signatures: cosignatures }) }),
  ]) {
    assert.equal(sigstore(json), null);
    assert.notEqual(ours(json), null);
  }
});

test('whatever bit of a bundle’s binary fields is changed, openBundle refuses, and accepts nothing that Sigstore refuses', () => {
  const fields = ['payload', 'signature', 'entry', 'logId', 'root'] as const;
  fc.assert(
    fc.property(fc.constantFrom(...fields), fc.nat(), fc.nat(7), (field, somewhere, bit) => {
      const bytes = good[field];
      const json = jsonOf({ ...good, [field]: flip(bytes, somewhere % bytes.length, bit) });
      assert.notEqual(ours(json), null, field);
      if (field !== 'root') assert.notEqual(sigstore(json), null, field);
    }),
    { numRuns: 500 },
  );
});

test('whatever character of the checkpoint is changed, openBundle refuses', () => {
  fc.assert(
    fc.property(fc.nat(good.checkpoint.length - 1), fc.constantFrom(...'A0\n =—x+'), (at, character) => {
      if (good.checkpoint[at] === character) return;
      const checkpoint = good.checkpoint.slice(0, at) + character + good.checkpoint.slice(at + 1);
      const code = ours(jsonOf({ ...good, checkpoint }));
      // The name or id of a witness that becomes another is one that is not known, and is ignored.
      const lines = good.checkpoint.slice(0, at).split('\n').length;
      if (lines < 6) assert.notEqual(code, null, `${at} ${JSON.stringify(character)}`);
    }),
    { numRuns: 500 },
  );
});

test('openssl verifies the signature of a bundle over its pre-authentication encoding, without us', () => {
  writeFileSync(`${folder}/key.pem`, publicKeyToPem(sampleDocumentSigner().key));
  writeFileSync(`${folder}/signature`, good.signature);
  const verify = (message: Uint8Array): number | null => {
    writeFileSync(`${folder}/message`, message);
    return spawnSync('openssl', ['dgst', '-sha256', '-verify', 'key.pem', '-signature', 'signature', 'message'], { cwd: folder }).status;
  };
  assert.equal(verify(pae(good.payloadType, good.payload)), 0);
  assert.equal(verify(pae(good.payloadType, others.payload)), 1);
  assert.ok(isSignedEntry(parseLogEntry(good.entry)));
  assert.equal(isSignedEntry({ ...forged, signature: others.signature }), false);
});

test('parseBundle refuses what it does not know, rather than pass over it', () => {
  const at =
    (...path: (string | number)[]): ((value: unknown) => unknown) =>
    (value) => {
      const json = jsonOf(good) as Record<string | number, unknown>;
      let table = json;
      for (const key of path.slice(0, -1)) table = table[key] as Record<string | number, unknown>;
      if (value === undefined) delete table[path.at(-1)!];
      else table[path.at(-1)!] = value;
      return json;
    };
  const entry = ['verificationMaterial', 'tlogEntries', 0] as const;
  const entries = (jsonOf(good) as { verificationMaterial: { tlogEntries: unknown[] } }).verificationMaterial.tlogEntries;
  assert.equal(ours(at('mediaType')('application/vnd.dev.sigstore.bundle.v0.3+json')), null);
  for (const [what, json] of Object.entries({
    'another media type': at('mediaType')('application/vnd.dev.sigstore.bundle.v0.2+json'),
    'an unknown key': at('more')(1),
    'no entry': at('verificationMaterial', 'tlogEntries')([]),
    'two entries': at('verificationMaterial', 'tlogEntries')([...entries, ...entries]),
    'another kind': at(...entry, 'kindVersion', 'kind')('dsse'),
    'another version': at(...entry, 'kindVersion', 'version')('0.0.1'),
    'a promise instead of a proof': at(...entry, 'inclusionPromise')({ signedEntryTimestamp: 'AAAA' }),
    'no proof': at(...entry, 'inclusionProof')(undefined),
    'two indexes': at(...entry, 'inclusionProof', 'logIndex')('138'),
    'an index that is a number': at(...entry, 'logIndex')(137),
    'an index with a sign': at(...entry, 'logIndex')('+137'),
    'an index with a leading zero': at(...entry, 'logIndex')('0137'),
    'a size beyond a double': at(...entry, 'inclusionProof', 'treeSize')('9007199254740992'),
    'a short hash': at(...entry, 'inclusionProof', 'hashes', 0)('AAAA'),
    'a short log id': at(...entry, 'logId', 'keyId')('AAAA'),
    '64 hashes': at(...entry, 'inclusionProof', 'hashes')(Array.from({ length: 64 }, () => Buffer.alloc(32).toString('base64'))),
    'a certificate': at('verificationMaterial', 'certificate')({ rawBytes: 'AAAA' }),
    'no signature': at('dsseEnvelope', 'signatures')([]),
    'two signatures': at('dsseEnvelope', 'signatures')([{ sig: 'AAAA' }, { sig: 'AAAA' }]),
    'a payload that is not base64': at('dsseEnvelope', 'payload')('!'),
    'an empty payload type': at('dsseEnvelope', 'payloadType')(''),
    'a message signature': at('messageSignature')({ signature: 'AAAA' }),
    'a list': [jsonOf(good)],
  }))
    assert.throws(
      () => parseBundle(toUtf8(JSON.stringify(json))),
      (error: unknown) => error instanceof LockstepError && error.code === 'BUNDLE_INVALID',
      what,
    );
});
