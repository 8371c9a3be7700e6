/**
 * Sigstore bundle v0.3 (protobuf-specs `sigstore_bundle.proto`, in its JSON): one signed document, its log entry, the
 * proof that the entry is in the log, and the checkpoint that the proof leads to, cosignatures included.
 */
import { fromBase64, toBase64 } from '../bytes/base64.ts';
import { list, oneOf, optional, table, text } from '../decode/decode.ts';
import { formatPath } from '../decode/issue-error.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { canonicalText } from '../json/canonical.ts';
import { parseJson } from '../json/parse.ts';
import { ENTRY_KIND } from '../log-entry/log-entry.ts';
import { parseDecimal } from '../checkpoint/checkpoint.ts';
import { HASH_BYTES, type TreeHash } from '../merkle/hash.ts';
import { MAX_PROOF_HASHES } from '../merkle/proof.ts';

export const BUNDLE_MEDIA_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';

export interface Bundle {
  readonly payloadType: string;
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
  /** Which key is meant: the SHA-256 of its SubjectPublicKeyInfo in hex. A hint only. */
  readonly keyHint: string;
  readonly entry: Uint8Array;
  readonly index: number;
  /** SHA-256 of the log's name, signature type and key; its first four bytes are the key id. */
  readonly logId: Uint8Array;
  readonly proof: readonly TreeHash[];
  readonly treeSize: number;
  readonly root: TreeHash;
  /** The signed note. */
  readonly checkpoint: string;
}

const base64 = (maxLength: number): ReturnType<typeof text> => text('base64', () => true, maxLength);
const int64 = text('a whole number in quotes', (value) => parseDecimal(value) !== null, 16);

const decode = table({
  mediaType: oneOf([BUNDLE_MEDIA_TYPE] as const),
  verificationMaterial: table({
    publicKey: table({ hint: text('a key hint', () => true, 200) }),
    tlogEntries: list(
      table({
        logIndex: int64,
        logId: table({ keyId: base64(100) }),
        kindVersion: table({ kind: oneOf([ENTRY_KIND.kind] as const), version: oneOf([ENTRY_KIND.version] as const) }),
        integratedTime: optional(int64, '0'),
        inclusionProof: table({
          logIndex: int64,
          rootHash: base64(100),
          treeSize: int64,
          hashes: list(base64(100), MAX_PROOF_HASHES),
          checkpoint: table({ envelope: text('a signed note', () => true, 1_000_000) }),
        }),
        canonicalizedBody: base64(90_000),
      }),
      1,
      1,
    ),
  }),
  dsseEnvelope: table({
    payload: base64(64 << 20),
    payloadType: text('a payload type', (value) => value !== '', 200),
    signatures: list(
      table({
        sig: base64(1000),
        keyid: optional(
          text('a key id', () => true, 200),
          '',
        ),
      }),
      1,
      1,
    ),
  }),
});

export function formatBundle(bundle: Bundle): string {
  return `${canonicalText({
    mediaType: BUNDLE_MEDIA_TYPE,
    verificationMaterial: {
      publicKey: { hint: bundle.keyHint },
      tlogEntries: [
        {
          logIndex: String(bundle.index),
          logId: { keyId: toBase64(bundle.logId) },
          kindVersion: { kind: ENTRY_KIND.kind, version: ENTRY_KIND.version },
          inclusionProof: {
            logIndex: String(bundle.index),
            rootHash: toBase64(bundle.root),
            treeSize: String(bundle.treeSize),
            hashes: bundle.proof.map(toBase64),
            checkpoint: { envelope: bundle.checkpoint },
          },
          canonicalizedBody: toBase64(bundle.entry),
        },
      ],
    },
    dsseEnvelope: {
      payload: toBase64(bundle.payload),
      payloadType: bundle.payloadType,
      signatures: [{ sig: toBase64(bundle.signature), keyid: bundle.keyHint }],
    },
  })}\n`;
}

/** @throws LockstepError BUNDLE_INVALID */
export function parseBundle(bytes: Uint8Array): Bundle {
  const invalid = (why: string): LockstepError =>
    new LockstepError(
      'BUNDLE_INVALID',
      `Not a Sigstore bundle v0.3 with one DSSE signature: ${why}`,
      'Give a .sigstore.json file that "lockstep log append" or "lockstep log prove" wrote.',
    );
  let json: ReturnType<typeof parseJson>;
  try {
    json = parseJson(bytes, 'bundle');
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : 'not JSON');
  }
  const decoded = decode(json, []);
  if (!decoded.ok) throw invalid(decoded.issues.map((issue) => `${formatPath(issue.path)}: expected ${issue.expected}`).join('; '));
  const { verificationMaterial, dsseEnvelope } = decoded.value;
  const [entry] = verificationMaterial.tlogEntries;
  const [signature] = dsseEnvelope.signatures;
  if (entry === undefined || signature === undefined) throw invalid('it has no log entry');
  const binary = (value: string): Uint8Array => {
    const found = fromBase64(value);
    if (found === null) throw invalid('a field is not base64');
    return found;
  };
  const hash = (value: string): TreeHash => {
    const found = binary(value);
    if (found.length !== HASH_BYTES) throw invalid('a hash has not 32 bytes');
    return found;
  };
  const { inclusionProof } = entry;
  if (inclusionProof.logIndex !== entry.logIndex) throw invalid('it names two indexes');
  return {
    payloadType: dsseEnvelope.payloadType,
    payload: binary(dsseEnvelope.payload),
    signature: binary(signature.sig),
    keyHint: verificationMaterial.publicKey.hint,
    entry: binary(entry.canonicalizedBody),
    index: Number(entry.logIndex),
    logId: hash(entry.logId.keyId),
    proof: inclusionProof.hashes.map(hash),
    treeSize: Number(inclusionProof.treeSize),
    root: hash(inclusionProof.rootHash),
    checkpoint: inclusionProof.checkpoint.envelope,
  };
}
