/**
 * How a release key changes (spec/release.md): a change names its successor, a revocation ends it. Both are logged, and
 * only their place in the log says what counts: a thief can write any date, but nothing before what is logged.
 */
import { isOrigin } from '../checkpoint/checkpoint.ts';
import { integer, nullable, oneOf, table, text, type TypeOf } from '../decode/decode.ts';
import { isSha256 } from '../digest/digest.ts';
import type { DocumentKind } from '../dsse/document.ts';
import { tufTime } from '../tuf/metadata.ts';

const digest = text('a SHA-256 in hex', isSha256, 64);
const pem = text('a public key in PEM', (value) => value.startsWith('-----BEGIN PUBLIC KEY-----\n'), 1000);
const reason = text('a reason of 1 to 500 characters', (value) => value.trim() !== '' && !/[\u0000-\u001f\u007f]/.test(value), 500);

const change = table({
  schema: oneOf(['lockstep-key-change/v1'] as const),
  use: oneOf(['release-dsse'] as const),
  /** Id of the key that hands over. */
  old: digest,
  new: pem,
  reason,
  time: tufTime,
  /** Until when both are to be used; then the old one is revoked as retired. */
  overlap_until: nullable(tufTime),
  /** How the new key was made, where its node says so. */
  made: nullable(text('how it was made', (value) => value !== '' && !/[\u0000-\u001f\u007f]/.test(value), 200)),
});
export type KeyChange = TypeOf<typeof change>;
/** Signed by the old and the new key; or by the new key and the root's threshold, when the old one is lost or stolen. */
export const KEY_CHANGE: DocumentKind<KeyChange> = {
  noun: 'key change',
  payloadType: 'application/vnd.lockstep.key-change+json',
  decode: change,
};

const revocation = table({
  schema: oneOf(['lockstep-key-revocation/v1'] as const),
  use: oneOf(['release-dsse'] as const),
  key: digest,
  why: oneOf(['retired', 'lost', 'stolen'] as const),
  reason,
  time: tufTime,
  /** What this log has at this index or later, the key has not approved. Earlier than now when it was stolen before. */
  from: table({ log: text('an origin', isOrigin, 255), index: integer(0, Number.MAX_SAFE_INTEGER) }),
});
export type KeyRevocation = TypeOf<typeof revocation>;
/** Signed by the key itself, or by the root's threshold. */
export const KEY_REVOCATION: DocumentKind<KeyRevocation> = {
  noun: 'key revocation',
  payloadType: 'application/vnd.lockstep.key-revocation+json',
  decode: revocation,
};
