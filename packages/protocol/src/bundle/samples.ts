/** A log, two witnesses and bundles for tests, the same in every run. Keys come from fixed seeds: nothing here is a secret. */
import { ed25519 } from '@noble/curves/ed25519.js';
import { p256 } from '@noble/curves/nist.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js';
import { fromHex } from '../bytes/hex.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import { type Checkpoint, formatCheckpointText } from '../checkpoint/checkpoint.ts';
import { ed25519CosignatureMessage, formatTimestamped, mlDsaCosignatureMessage } from '../checkpoint/cosignature.ts';
import { sha256Hex } from '../digest/digest.ts';
import { pae } from '../dsse/envelope.ts';
import { type PublicKey, publicKeyFromSpki } from '../key/p256.ts';
import { formatLogEntry } from '../log-entry/log-entry.ts';
import { leafHash } from '../merkle/hash.ts';
import { type SampleTree, sampleTree } from '../merkle/samples.ts';
import { formatNote } from '../note/note.ts';
import { makeVerifierKey, noteKeyHash, type VerifierKey } from '../note/verifier-key.ts';
import type { Bundle } from './bundle.ts';

const SAMPLE_TIME = 1_760_000_000;
const SAMPLE_PAYLOAD_TYPE = 'application/vnd.in-toto+json';

/** Whoever signs checkpoints: makes the bytes of its own kind of signature. */
export interface SampleNoteSigner {
  readonly key: VerifierKey;
  sign(checkpoint: Checkpoint): Uint8Array;
}

const seed = (number: number): Uint8Array => new Uint8Array(32).fill(number);

export function sampleLogSigner(name = 'log.example/farm', number = 1): SampleNoteSigner {
  const secret = seed(number);
  return {
    key: makeVerifierKey(name, 'ed25519', ed25519.getPublicKey(secret)),
    sign: (checkpoint) => ed25519.sign(toUtf8(formatCheckpointText(checkpoint)), secret),
  };
}

export function sampleEd25519Witness(name = 'witness.example/1', number = 2, time = SAMPLE_TIME): SampleNoteSigner {
  const secret = seed(number);
  return {
    key: makeVerifierKey(name, 'cosignature-ed25519', ed25519.getPublicKey(secret)),
    sign: (checkpoint) => formatTimestamped(time, ed25519.sign(ed25519CosignatureMessage(checkpoint, time), secret)),
  };
}

export function sampleMlDsaWitness(name = 'witness.example/1', number = 3, time = SAMPLE_TIME): SampleNoteSigner {
  const { publicKey, secretKey } = ml_dsa44.keygen(seed(number));
  return {
    key: makeVerifierKey(name, 'cosignature-ml-dsa-44', publicKey),
    sign: (checkpoint) =>
      formatTimestamped(time, ml_dsa44.sign(mlDsaCosignatureMessage(name, checkpoint, time), secretKey, { extraEntropy: false })),
  };
}

export function sampleSignedCheckpoint(checkpoint: Checkpoint, signers: readonly SampleNoteSigner[]): string {
  return formatNote({
    text: formatCheckpointText(checkpoint),
    signatures: signers.map((one) => ({ name: one.key.name, keyId: one.key.keyId, signature: one.sign(checkpoint) })),
  });
}

/** RFC 5480, up to the point. */
const SPKI_PREFIX = '3059301306072a8648ce3d020106082a8648ce3d030107034200';

export interface SampleDocumentSigner {
  readonly key: PublicKey;
  sign(payloadType: string, payload: Uint8Array): Uint8Array;
}

export function sampleDocumentSigner(number = 9): SampleDocumentSigner {
  const secret = seed(number);
  const spki = Uint8Array.from([...(fromHex(SPKI_PREFIX, 26) ?? []), ...p256.getPublicKey(secret, false)]);
  return { key: publicKeyFromSpki(spki), sign: (type, payload) => p256.sign(pae(type, payload), secret, { format: 'der' }) };
}

export interface SampleLog {
  readonly signers: readonly SampleNoteSigner[];
  readonly tree: SampleTree;
  readonly entries: readonly Uint8Array[];
  readonly checkpoint: string;
  bundle(index: number): Bundle;
}

/** A log of `size` statements, each signed by the same key; the first of `signers` is the log. */
export function sampleLog(size: number, signers: readonly SampleNoteSigner[] = [sampleLogSigner()]): SampleLog {
  const [log] = signers;
  if (log === undefined) throw new TypeError('a log has a key');
  const signer = sampleDocumentSigner();
  const documents = Array.from({ length: size }, (_, index) => {
    const payload = toUtf8(`{"statement":${index}}`);
    const signature = signer.sign(SAMPLE_PAYLOAD_TYPE, payload);
    const digest = sha256Hex(pae(SAMPLE_PAYLOAD_TYPE, payload));
    return { payload, signature, entry: formatLogEntry({ digest, signature, key: signer.key }) };
  });
  const entries = documents.map(({ entry }) => entry);
  const tree = sampleTree(entries.map(leafHash));
  const checkpoint = sampleSignedCheckpoint({ origin: log.key.name, size, root: tree.root, extensions: [] }, signers);
  const bundle = (index: number): Bundle => {
    const document = documents[index];
    if (document === undefined) throw new TypeError(`the log has no entry ${index}`);
    return {
      ...document,
      payloadType: SAMPLE_PAYLOAD_TYPE,
      keyHint: signer.key.id,
      index,
      logId: noteKeyHash(log.key.name, log.key.type, log.key.publicKey),
      proof: tree.proveInclusion(index),
      treeSize: size,
      root: tree.root,
      checkpoint,
    };
  };
  return { signers, tree, entries, checkpoint, bundle };
}

/** What a bundle of this document looks like to whoever compares digests by hand. */
export function sampleDigest(bundle: Bundle): Uint8Array {
  return sha256(pae(bundle.payloadType, bundle.payload));
}
