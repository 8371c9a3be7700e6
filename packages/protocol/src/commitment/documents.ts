/**
 * The documents of a round (spec/commitment.md). Each is signed by whom its noun says, logged, and names the opening that
 * it belongs to by digest, so that none can be carried over into another round.
 */
import { type Decoder, integer, issue, list, nullable, oneOf, record, table, text, type TypeOf } from '../decode/decode.ts';
import { isOrigin } from '../checkpoint/checkpoint.ts';
import { isSha256 } from '../digest/digest.ts';
import type { DocumentKind } from '../dsse/document.ts';
import type { Json } from '../json/parse.ts';
import { tufTime } from '../tuf/metadata.ts';

const digest = text('a SHA-256 in hex', isSha256, 64);
const name = text('a name', (value) => /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(value), 100);
const anyJson: Decoder<Json> = (value, path) =>
  value === undefined ? { ok: false, issues: [{ path, expected: 'a value', found: 'nothing', hint: '' }] } : { ok: true, value };

/** Rounds of one definition are numbered from 1. */
const round = integer(1, 1_000_000);

const openingTable = table({
  schema: oneOf(['lockstep-opening/v1'] as const),
  build_id: digest,
  round,
  policy: table({ version: integer(1, 1_000_000_000), sha256: digest }),
  /** The one log whose order counts. */
  log: text('an origin', isOrigin, 255),
  /** Until when commitments are waited for; a coordinator closes after it. */
  commit_by: tufTime,
  roster: list(table({ builder: name, key: digest, ambient: record(/^[a-z-]{1,40}$/, anyJson, 32) }), 200, 1),
});

const member = { build_id: digest, round, opening: digest };
const commitment = table({ schema: oneOf(['lockstep-commitment/v1'] as const), ...member, commitment: digest });
const closing = table({ schema: oneOf(['lockstep-closing/v1'] as const), ...member });
const reveal = table({ schema: oneOf(['lockstep-reveal/v1'] as const), ...member, statement: digest, salt: digest });

/** A builder that is on the roster twice would be waited for twice. */
const opening: Decoder<TypeOf<typeof openingTable>> = (value, path) => {
  const decoded = openingTable(value, path);
  if (!decoded.ok) return decoded;
  const { roster } = decoded.value;
  const once = [roster.map((one) => one.key), roster.map((one) => one.builder)].every((names) => new Set(names).size === names.length);
  return once ? decoded : issue([...path, 'roster'], value, 'each builder and each key once');
};

export type Opening = TypeOf<typeof opening>;
export type Commitment = TypeOf<typeof commitment>;
export type Closing = TypeOf<typeof closing>;
export type Reveal = TypeOf<typeof reveal>;

const kind = <T>(noun: string, decode: Decoder<T>): DocumentKind<T> => ({
  noun,
  payloadType: `application/vnd.lockstep.${noun}+json`,
  decode,
});

/** Signed by a coordinator: who is to build what, under which conditions. */
export const OPENING = kind('opening', opening);
/** Signed by a builder: "I have a statement", without saying what is in it. */
export const COMMITMENT = kind('commitment', commitment);
/** Signed by a coordinator: the deadline has passed; who has not committed is too late. */
export const CLOSING = kind('closing', closing);
/** Signed by a builder: which statement it was. */
export const REVEAL = kind('reveal', reveal);

const resolution = table({
  schema: oneOf(['lockstep-resolution/v1'] as const),
  build_id: digest,
  /** Names the disagreement: builders, outputs and all. */
  dispute: digest,
  /** The outputs that are accepted, by their digest; null: none of them. */
  accept: nullable(digest),
  reason: text(
    'a reason of 10 to 2000 characters',
    (value) => value.trim().length >= 10 && !/[\u0000-\u0009\u000b-\u001f\u007f]/.test(value),
    2000,
  ),
});
export type Resolution = TypeOf<typeof resolution>;
/** Signed by arbiters, each alone; a threshold of them counts. */
export const RESOLUTION = kind('resolution', resolution);

const outcome = table({
  schema: oneOf(['lockstep-outcome/v1'] as const),
  build_id: digest,
  round: nullable(round),
  /** What the log had when it was decided: the entries before `size`. */
  log: table({ origin: text('an origin', (value) => value !== '', 255), size: integer(0, Number.MAX_SAFE_INTEGER) }),
  decision: anyJson,
});
export type Outcome = TypeOf<typeof outcome>;
/** Signed by a coordinator: the decision, positive or negative. Nobody has to believe it: the log holds all that it was made of. */
export const OUTCOME = kind('outcome', outcome);

const logReference = table({
  schema: oneOf(['lockstep-log-reference/v1'] as const),
  origin: text('an origin', (value) => value !== '', 255),
  size: integer(0, Number.MAX_SAFE_INTEGER),
  root: digest,
  checkpoint: text('a signed note', (value) => value !== '', 1_000_000),
});
export type LogReference = TypeOf<typeof logReference>;
/** What another log had published: the farm's log fixes the logs of its builders, so that those cannot be rewritten either. */
export const LOG_REFERENCE = kind('log-reference', logReference);
