/** Signed documents of our own: each kind has a payload type, so that none passes for another, and one spelling. */
import type { Decoder } from '../decode/decode.ts';
import { formatIssue } from '../decode/issue-error.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { canonicalBytes } from '../json/canonical.ts';
import { type Json, parseJson } from '../json/parse.ts';

export interface DocumentKind<T> {
  /** `application/vnd.lockstep.NOUN+json`. */
  readonly payloadType: string;
  readonly noun: string;
  readonly decode: Decoder<T>;
}

export function formatDocument<T>(kind: DocumentKind<T>, value: T): Uint8Array {
  const json = JSON.parse(JSON.stringify(value)) as Json;
  const decoded = kind.decode(json, []);
  if (!decoded.ok) throw new TypeError(`not a ${kind.noun}: ${decoded.issues.map(formatIssue).join('; ')}`);
  return canonicalBytes(json);
}

/** null when the document is of another kind. @throws LockstepError DOCUMENT_INVALID when it is of this kind and broken */
export function readDocument<T>(kind: DocumentKind<T>, payloadType: string, payload: Uint8Array): T | null {
  if (payloadType !== kind.payloadType) return null;
  const invalid = (why: string): LockstepError =>
    new LockstepError(
      'DOCUMENT_INVALID',
      `Not a ${kind.noun}: ${why}`,
      `Get it again from whoever signed it; spec/ says how each kind looks.`,
    );
  let json: Json;
  try {
    json = parseJson(payload, kind.noun);
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : String(error));
  }
  const decoded = kind.decode(json, []);
  if (!decoded.ok) throw invalid(decoded.issues.slice(0, 3).map(formatIssue).join('; '));
  const written = canonicalBytes(json);
  if (written.length !== payload.length || !written.every((byte, index) => byte === payload[index]))
    throw invalid('it is not canonical JSON');
  return decoded.value;
}
