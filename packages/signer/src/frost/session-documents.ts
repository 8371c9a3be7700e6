/** What coordinator and holders say to sign something (spec/frost.md "Documents of a session"). Each names the session by its digest. */
import { type Decoder, issue, list, nullable, oneOf, table, text, type TypeOf } from '@lockstep/protocol/decode/decode';
import type { DocumentKind } from '@lockstep/protocol/dsse/document';
import { isSorted, MAX_PARTICIPANTS, name, sha256 } from './ceremony-documents.ts';
import { hex32, scalarHex } from './point.ts';

/** A release in all its formats is a dozen of messages; each costs every holder two nonces. */
export const MAX_MESSAGES = 64;
/** A signing request with its evidence; the larger part of MAX_MESSAGE_BYTES (signed-message.ts) after base64 twice. */
export const MAX_REQUEST_BYTES = 8 << 20;
/** The commitments of MAX_MESSAGES messages take less than 20,000. */
const MAX_ENVELOPE_TEXT = 65_536;

const base64 = (bytes: number): Decoder<string> =>
  text('bytes in base64', (value) => value.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(value), Math.ceil(bytes / 3) * 4);

const sessionTable = table({
  schema: oneOf(['lockstep-frost-session/v1'] as const),
  /** Of the key: its participants, their keys and its threshold. */
  ceremony: sha256,
  /** Who is to sign, sorted. */
  signers: list(name, MAX_PARTICIPANTS, 2),
  nonce: hex32,
  request: base64(MAX_REQUEST_BYTES),
});

/** One signer under two places would be two of the threshold. */
const session: Decoder<TypeOf<typeof sessionTable>> = (value, path) => {
  const decoded = sessionTable(value, path);
  return !decoded.ok || isSorted(decoded.value.signers) ? decoded : issue([...path, 'signers'], null, 'signers once each, sorted by name');
};

const part = { session: sha256, from: name };
const commitments = table({
  schema: oneOf(['lockstep-frost-commitments/v1'] as const),
  ...part,
  /** One for each message that the holder found in the request, by its SHA-256. Whether these are points is seen when they are used. */
  messages: list(table({ sha256, hiding: hex32, binding: hex32 }), MAX_MESSAGES, 1),
});
const sharing = table({
  schema: oneOf(['lockstep-frost-sharing/v1'] as const),
  session: sha256,
  /** The signed commitments of all signers, as they came. */
  commitments: list(
    text('an envelope', () => true, MAX_ENVELOPE_TEXT),
    MAX_PARTICIPANTS,
    2,
  ),
});
const shares = table({
  schema: oneOf(['lockstep-frost-shares/v1'] as const),
  ...part,
  /** In the order of the messages. */
  shares: list(scalarHex, MAX_MESSAGES, 1),
});

/**
 * message: it is broken, or not for this holder. session: not open here, never or no more; another may succeed. busy: too
 * many are. evidence: the holder's own check said no. state: it cannot remember, so it does not sign.
 */
export const REFUSALS = ['message', 'session', 'busy', 'evidence', 'state'] as const;
export type RefusalCode = (typeof REFUSALS)[number];
export const MAX_REASON = 1000;
const refusal = table({
  schema: oneOf(['lockstep-frost-refusal/v1'] as const),
  session: nullable(sha256),
  from: name,
  code: oneOf(REFUSALS),
  reason: text('a reason on one line', (value) => !/[\u0000-\u001f\u007f]/.test(value), MAX_REASON),
});

export type Session = TypeOf<typeof session>;

const kind = <T>(noun: string, decode: Decoder<T>): DocumentKind<T> => ({
  noun,
  payloadType: `application/vnd.lockstep.${noun}+json`,
  decode,
});
/** Signed by the coordinator: who is to sign what. Its digest is the session's id. */
export const SESSION = kind('frost-session', session);
/** Signed by a holder: nonces made for exactly these messages, committed to. */
export const COMMITMENTS = kind('frost-commitments', commitments);
/** Signed by the coordinator: what the signers have committed to. */
export const SHARING = kind('frost-sharing', sharing);
/** Signed by a holder: its part of each signature. */
export const SHARES = kind('frost-shares', shares);
/** Signed by a holder: why not. */
export const REFUSAL = kind('frost-refusal', refusal);
