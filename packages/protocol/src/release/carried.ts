/**
 * An envelope that a log carries: its entries are signed with P-256 (spec/log.md), and some envelopes are signed with
 * Ed25519, or by several. Whoever has it logged signs the carrier, and says nothing by that: what counts is inside.
 */
import { fromBase64, toBase64 } from '../bytes/base64.ts';
import { list, nullable, oneOf, table, text, type TypeOf } from '../decode/decode.ts';
import { isSha256 } from '../digest/digest.ts';
import type { DocumentKind } from '../dsse/document.ts';
import { type Envelope, pae } from '../dsse/envelope.ts';
import { type AnyKey, verifySignature } from '../key/any-key.ts';

const base64 = (max: number): ReturnType<typeof text> => text('base64', (value) => fromBase64(value) !== null, max);

const carried = table({
  schema: oneOf(['lockstep-carried/v1'] as const),
  /** What it is about, so that it is found; null: no build. */
  build_id: nullable(text('a SHA-256 in hex', isSha256, 64)),
  payload_type: text('a payload type', (value) => value !== '', 200),
  payload: base64(8 << 20),
  signatures: list(table({ keyid: text('a key id', () => true, 200), sig: base64(1000) }), 16, 1),
});
export type Carried = TypeOf<typeof carried>;

export const CARRIED: DocumentKind<Carried> = {
  noun: 'carried envelope',
  payloadType: 'application/vnd.lockstep.carried+json',
  decode: carried,
};

export function carry(envelope: Envelope, buildId: string | null): Carried {
  return {
    schema: 'lockstep-carried/v1',
    build_id: buildId,
    payload_type: envelope.payloadType,
    payload: toBase64(envelope.payload),
    signatures: envelope.signatures.map(({ keyid, sig }) => ({ keyid, sig: toBase64(sig) })),
  };
}

export function carriedEnvelope(document: Carried): Envelope {
  return {
    payloadType: document.payload_type,
    payload: fromBase64(document.payload) ?? new Uint8Array(0),
    signatures: document.signatures.map(({ keyid, sig }) => ({ keyid, sig: fromBase64(sig) ?? new Uint8Array(0) })),
  };
}

/**
 * Of the signatures that name the key (`keyid`: its id) the first one is looked at, and no other: anybody can have
 * envelopes logged, and each may cost one check a key, not sixteen.
 */
export function isSignedBy(envelope: Envelope, key: AnyKey, keyid: string = key.id): boolean {
  const named = envelope.signatures.find((one) => one.keyid === keyid);
  return named !== undefined && verifySignature(key, pae(envelope.payloadType, envelope.payload), named.sig);
}
