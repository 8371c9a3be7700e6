/** Schemas of values that many routes carry. */
import type { Json } from '@lockstep/protocol/json/parse';
import { z } from 'zod';

export const sha256 = z
  .string()
  .regex(/^[0-9a-f]{64}$/, 'a SHA-256 in hex')
  .meta({ id: 'Sha256', description: 'SHA-256, 64 lower-case hex digits' });
/** Build id, or so much of its beginning that it names one job. */
export const jobName = z
  .string()
  .regex(/^[0-9a-f]{8,64}$/, 'a build id, or at least 8 digits of it')
  .meta({ id: 'JobName' });
export const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._@/:-]{0,99}$/, 'a name of letters, digits and . _ @ / : -')
  .meta({ id: 'Name' });
/** Milliseconds since 1970. */
export const time = z.int().min(0).meta({ id: 'Time', description: 'milliseconds since 1970-01-01T00:00:00Z' });
export const base64 = z.string().regex(/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/, 'base64');
/** Any JSON: checked by whoever knows what it should be. */
export const anyJson = z.custom<Json>((value) => value !== undefined);
export const attempt = z
  .int()
  .min(1)
  .max(Number.MAX_SAFE_INTEGER)
  .meta({ id: 'Attempt', description: 'fencing number: rises with every lease' });
/** In a path or a query everything is text. */
export const attemptText = z
  .string()
  .regex(/^[1-9][0-9]{0,15}$/, 'the number of an attempt')
  .transform(Number)
  .meta({ id: 'AttemptText' });
export const countText = z
  .string()
  .regex(/^(?:0|[1-9][0-9]{0,15})$/, 'a number')
  .transform(Number)
  .meta({ id: 'CountText' });

/** A DSSE envelope with one signature, and the key that made it. */
export const signedDocument = z
  .strictObject({
    payloadType: z.string().max(200),
    payload: base64,
    signature: base64.max(200),
    /** DER SubjectPublicKeyInfo of an ECDSA P-256 key. */
    key: base64.max(200),
  })
  .meta({ id: 'SignedDocument' });
export type SignedDocumentJson = z.infer<typeof signedDocument>;

/** An envelope that release keys, or those who speak for them, have signed. */
export const approvalEnvelope = z
  .strictObject({
    payloadType: z.string().max(200),
    payload: base64,
    signatures: z
      .array(z.strictObject({ /** DER SubjectPublicKeyInfo. */ key: base64.max(600), sig: base64.max(600) }))
      .min(1)
      .max(16),
  })
  .meta({ id: 'ApprovalEnvelope' });
export type ApprovalEnvelopeJson = z.infer<typeof approvalEnvelope>;

/** A statement with a Debian lock has 60 kB; a whole document never more than what a log takes. */
export const MAX_DOCUMENT_BODY = 8 << 20;
/** Parts of an upload: large enough that a bucket composes them, small enough to be sent again. */
export const MAX_PART_BYTES = 16 << 20;
/** 64 GiB in parts. */
export const MAX_PARTS = 4096;
