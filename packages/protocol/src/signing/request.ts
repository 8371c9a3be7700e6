/**
 * What a signing node is asked (spec/signing-request.md): the evidence for it, and the exact bytes to sign in each format.
 * The node believes none of it: it derives the bytes again, and refuses when they differ.
 */
import { fromBase64 } from '../bytes/base64.ts';
import { type Decoder, integer, list, nullable, oneOf, record, table, tableOf, text, type TypeOf } from '../decode/decode.ts';
import { isSha256, type Sha256, sha256Hex } from '../digest/digest.ts';
import { type DocumentKind, formatDocument, readDocument } from '../dsse/document.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { isKeyUse, type KeyUse } from '../key/key-use.ts';
import { MAX_PROOF_HASHES } from '../merkle/proof.ts';
import { RELEASE_LINE } from '../release/release-record.ts';
import { tufTime } from '../tuf/metadata.ts';

/** What a serial line carries in a quarter of an hour; a release with a hundred builders' statements has half of it. */
export const MAX_REQUEST_BYTES = 8 << 20;

const digest = text('a SHA-256 in hex', isSha256, 64);
const base64 = (max: number): Decoder<string> => text('base64', (value) => fromBase64(value) !== null, max);
const use = text('what a key is for', isKeyUse, 40) as Decoder<KeyUse>;
const file = text('a file’s name', (value) => value !== '', 4096);

/** Same for every purpose. */
const common = {
  schema: oneOf(['lockstep-signing-request/v1'] as const),
  /** Who is asked, each with the newest checkpoint of its own log that the requester has seen: so a restored disk is noticed. */
  nodes: record(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/, nullable(text('a signed note', (value) => value !== '', 20_000)), 100),
  time: tufTime,
  /** By use, format and file in the order of the plan; a node signs those that its keys are for. */
  expected: list(table({ use, file: nullable(file), bytes: base64(4 << 20) }), 100_000, 1),
};

const release = table({
  ...common,
  purpose: oneOf(['release'] as const),
  build_id: digest,
  line: text('a line like main or 1.x', (value) => RELEASE_LINE.test(value), 40),
  previous: nullable(digest),
  /** Files of the signed policy's repository, by path: the roots after the node's own, timestamp, snapshot, targets, policy. */
  policy: record(
    /^(?:metadata|targets)\/[A-Za-z0-9._-]{1,120}$/,
    text('a file', () => true, 4 << 20),
    1100,
  ),
  /** Sigstore bundles of one checkpoint of one log: all that is known about the build. */
  bundles: list(
    text('a Sigstore bundle', () => true, 4 << 20),
    1000,
    1,
  ),
  /** From each tree that one of the nodes has seen of this log last. */
  consistency: list(table({ size: integer(0, Number.MAX_SAFE_INTEGER), hashes: list(base64(64), MAX_PROOF_HASHES) }), 100),
});

/** A key change or a revocation: the new key's word, or the old one's. */
const keyDocument = table({
  ...common,
  purpose: oneOf(['key'] as const),
  payload_type: text('a payload type', (value) => value !== '', 200),
  payload: base64(20_000),
});

/** Metadata of a TUF role as it is to be signed; what is in `files` stands behind its targets. */
const tuf = table({
  ...common,
  purpose: oneOf(['tuf'] as const),
  role: oneOf(['root', 'targets', 'snapshot', 'timestamp'] as const),
  metadata: text('metadata', () => true, 1 << 20),
  files: record(
    /^[ -~]{1,200}$/,
    text('a file', () => true, 4 << 20),
    100,
  ),
});

export type ReleaseRequest = TypeOf<typeof release>;
export type KeyRequest = TypeOf<typeof keyDocument>;
export type TufRequest = TypeOf<typeof tuf>;
export type SigningRequest = ReleaseRequest | KeyRequest | TufRequest;

const decode = tableOf<SigningRequest>('purpose', { release, key: keyDocument, tuf });

export const SIGNING_REQUEST: DocumentKind<SigningRequest> = {
  noun: 'signing request',
  payloadType: 'application/vnd.lockstep.signing-request+json',
  decode,
};

export function formatRequest(request: SigningRequest): Uint8Array {
  return formatDocument(SIGNING_REQUEST, request);
}

/** @throws LockstepError DOCUMENT_INVALID */
export function parseRequest(bytes: Uint8Array): SigningRequest {
  if (bytes.length > MAX_REQUEST_BYTES)
    throw new LockstepError('DOCUMENT_INVALID', 'Not a signing request: it is larger than 8 MiB', 'Ask for one release at a time.');
  const request = readDocument(SIGNING_REQUEST, SIGNING_REQUEST.payloadType, bytes);
  if (request === null) throw new TypeError('a document of this kind was read as another');
  return request;
}

/** Names a request: asked again, it gets the same answer. */
export function requestDigest(bytes: Uint8Array): Sha256 {
  return sha256Hex(bytes);
}
