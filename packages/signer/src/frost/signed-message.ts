/** A canonical document in a DSSE envelope with one signature: the only thing that holders and coordinators say to each other. */
import { fromUtf8, toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { type Sha256, sha256Hex } from '@lockstep/protocol/digest/digest';
import { type DocumentKind, formatDocument, readDocument } from '@lockstep/protocol/dsse/document';
import { type Envelope, formatEnvelope, pae, parseEnvelope } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type AnyKey, verifySignature } from '@lockstep/protocol/key/any-key';
import type { NodeKey } from './identity.ts';

/** The largest is the opening of a signing session: a request of MAX_REQUEST_BYTES (session-documents.ts), in base64 twice. */
export const MAX_MESSAGE_BYTES = 16 << 20;

export interface Speaker {
  readonly name: string;
  readonly nodeKey: AnyKey;
}

export interface Said<T> {
  readonly from: Speaker;
  readonly value: T;
  readonly payload: Uint8Array;
  /** Of what was said, whoever signed it and however often: SHA-256 of the pre-authentication encoding. */
  readonly digest: Sha256;
}

/** Bad evidence is a result: `why` is a clause without a subject. */
export type Heard<T> = { readonly ok: true; readonly said: Said<T> } | { readonly ok: false; readonly why: string };

export async function say<T>(node: NodeKey, kind: DocumentKind<T>, value: T): Promise<Uint8Array> {
  const payload = formatDocument(kind, value);
  const sig = await node.sign(pae(kind.payloadType, payload));
  return toUtf8(formatEnvelope({ payloadType: kind.payloadType, payload, signatures: [{ keyid: node.public.id, sig }] }));
}

/** What kind of message it claims to be; null when it is none. Nothing is verified. */
export function payloadTypeOf(message: Uint8Array): string | null {
  const envelope = envelopeOf(message);
  return 'why' in envelope ? null : envelope.payloadType;
}

/** The signature is verified before the payload is read. */
export function hear<T>(kind: DocumentKind<T>, message: Uint8Array, speakers: readonly Speaker[]): Heard<T> {
  const envelope = envelopeOf(message);
  if ('why' in envelope) return { ok: false, why: envelope.why };
  if (envelope.payloadType !== kind.payloadType) return { ok: false, why: `is no ${kind.noun}` };
  const [signature, second] = envelope.signatures;
  if (signature === undefined || second !== undefined) return { ok: false, why: 'has not one signature' };
  const from = speakers.find((one) => one.nodeKey.id === signature.keyid);
  if (from === undefined) return { ok: false, why: 'is signed by nobody who takes part' };
  const signed = pae(envelope.payloadType, envelope.payload);
  if (!verifySignature(from.nodeKey, signed, signature.sig)) return { ok: false, why: `has a signature that is not of ${from.name}` };
  try {
    const value = readDocument(kind, envelope.payloadType, envelope.payload);
    if (value === null) return { ok: false, why: `is no ${kind.noun}` };
    return { ok: true, said: { from, value, payload: envelope.payload, digest: sha256Hex(signed) } };
  } catch (error) {
    if (!(error instanceof LockstepError)) throw error;
    return { ok: false, why: `of ${from.name} is broken: ${error.message}` };
  }
}

function envelopeOf(message: Uint8Array): Envelope | { readonly why: string } {
  if (message.length > MAX_MESSAGE_BYTES) return { why: `is larger than ${MAX_MESSAGE_BYTES} bytes` };
  if (fromUtf8(message) === null) return { why: 'is not UTF-8' };
  try {
    return parseEnvelope(message);
  } catch (error) {
    if (error instanceof LockstepError) return { why: 'is not a DSSE envelope' };
    throw error;
  }
}
