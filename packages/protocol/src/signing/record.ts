/** What a signing node says and remembers: signatures, or a refusal that names the failed step. Signed by the node's own key. */
import { fromBase64 } from '../bytes/base64.ts';
import { type Decoder, integer, list, nullable, oneOf, table, text, type TypeOf } from '../decode/decode.ts';
import { isSha256 } from '../digest/digest.ts';
import type { DocumentKind } from '../dsse/document.ts';
import { isKeyUse, type KeyUse } from '../key/key-use.ts';
import { releaseTable } from '../release/release-record.ts';
import { tufTime } from '../tuf/metadata.ts';

export const SIGNATURE_FORMATS = ['dsse', 'minisign', 'signify', 'sshsig', 'note', 'raw', 'nix', 'tuf', 'share'] as const;
export type SignatureFormat = (typeof SIGNATURE_FORMATS)[number];

const digest = text('a SHA-256 in hex', isSha256, 64);
const base64 = (max: number): Decoder<string> => text('base64', (value) => fromBase64(value) !== null, max);
const line = (max: number): Decoder<string> => text('a line', (value) => value !== '' && !/[\u0000-\u001f\u007f]/.test(value), max);
const use = text('what a key is for', isKeyUse, 40) as Decoder<KeyUse>;

const signature = table({
  use,
  format: oneOf(SIGNATURE_FORMATS),
  file: nullable(text('a file’s name', (value) => value !== '', 4096)),
  /** Its name on the node, and its id (SHA-256 of the SubjectPublicKeyInfo). */
  key: table({
    name: line(100),
    id: digest,
    pem: text('a public key in PEM', (value) => value.startsWith('-----BEGIN PUBLIC KEY'), 2000),
    /** minisign's number of a key that minisign made, in hex; null: it follows from the key. */
    number: nullable(text('8 bytes in hex', (value) => /^[0-9a-f]{16}$/.test(value), 16)),
  }),
  /** SHA-256 of what was signed. */
  message: digest,
  signature: base64(1000),
  /** The second signature of formats that have one (minisign: over the trusted comment). */
  second: nullable(base64(1000)),
});
export type MadeSignature = TypeOf<typeof signature>;

/** What a node has learned by a request; its memory is all of these, in the order of its log. */
const learned = table({
  /** TUF versions and the policy's: nothing older is taken again. */
  seen: table({
    root: integer(0, 1e9),
    timestamp: integer(0, 1e9),
    snapshot: integer(0, 1e9),
    targets: integer(0, 1e9),
    policy: integer(0, 1e9),
  }),
  log: table({ origin: text('an origin', (value) => value !== '', 255), size: integer(0, Number.MAX_SAFE_INTEGER), root: digest }),
});
export type Learned = TypeOf<typeof learned>;

/** The newest version of a TUF role's metadata that it has signed. */
const signedRole = table({
  role: oneOf(['root', 'targets', 'snapshot', 'timestamp'] as const),
  version: integer(1, 1e9),
  /** The version that it refers to: of the policy, the targets, the snapshot. It goes forward too. */
  names: nullable(integer(1, 1e9)),
});

const record = table({
  schema: oneOf(['lockstep-signing-record/v1'] as const),
  request: digest,
  node: line(100),
  /** The node's clock: the later of its own and the witnesses'. */
  time: tufTime,
  result: oneOf(['signed', 'refused'] as const),
  /** The step that failed; '' when signed. */
  step: text('a step', (value) => !/[\u0000-\u001f\u007f]/.test(value), 100),
  reason: text('a reason', (value) => !/[\u0000-\u001f\u007f]/.test(value), 2000),
  /** One line for people: what it was about. */
  about: line(500),
  /** Steps of the verdict on the evidence, as far as they were reached. */
  steps: list(
    table({ name: line(100), state: oneOf(['pass', 'fail', 'unreached'] as const), detail: text('a detail', () => true, 4000) }),
    100,
  ),
  /** The release that was approved; null: none was. */
  release: nullable(releaseTable),
  tuf: nullable(signedRole),
  learned: nullable(learned),
  signatures: list(signature, 100_000),
});
export type SigningRecord = TypeOf<typeof record>;

/**
 * An entry of the node's own log: what it has signed and refused, written before anything leaves. The answer to a request
 * is the Sigstore bundle of this entry, so it shows by itself who says it and that it was remembered.
 */
export const SIGNING_RECORD: DocumentKind<SigningRecord> = {
  noun: 'signing record',
  payloadType: 'application/vnd.lockstep.signing-record+json',
  decode: record,
};
