/**
 * The release record (spec/release.md): one document per release. It is what the release keys approve: every file with
 * each of its digests, what they were built from, and who agreed on them. All of it follows from the evidence.
 */
import { isOrigin } from '../checkpoint/checkpoint.ts';
import { boolean, type Decoder, integer, list, nullable, oneOf, table, text, type TypeOf } from '../decode/decode.ts';
import { isSha256, type Sha256, sha256Hex } from '../digest/digest.ts';
import { type DocumentKind, formatDocument } from '../dsse/document.ts';
import type { Policy } from '../policy/policy.ts';
import type { Decision } from '../quorum/decision.ts';
import { tufTime } from '../tuf/metadata.ts';
import { isChecksumName } from './checksums.ts';

const digest = text('a SHA-256 in hex', isSha256, 64) as Decoder<Sha256>;
const wide = text('128 hex digits', (value) => /^[0-9a-f]{128}$/.test(value), 128);
const name = text('a name', (value) => value !== '', 4096);
/** A sequence of versions that only goes forward: "main", "1.x", "lts". */
export const RELEASE_LINE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$/;
/** release.json, SHA256SUMS, FILE.minisig, … (spec/release.md "Files"). */
const OWN_FILES = /^(?:release|vsa)\.|^SHA256SUMS|\.(?:minisig|sshsig|narinfo|sigstore\.json)$/;
/** More would not fit a serial line in useful time, nor a person's eye. */
const MAX_FILES = 10_000;

/** Names stand in files and on terminals; what a release writes beside its artifacts may not be one of them. */
const fileName = text(
  'a relative path that every tool reads, and none of the release’s own files',
  (value) => isChecksumName(value) && !OWN_FILES.test(value),
  4096,
);
const file = table({ name: fileName, size: integer(0, Number.MAX_SAFE_INTEGER), sha256: digest, sha512: wide, blake2b512: wide });

export const releaseTable = table({
  schema: oneOf(['lockstep-release/v1'] as const),
  name,
  version: name,
  line: text('a line like main or 1.x', (value) => RELEASE_LINE.test(value), 40),
  build_id: digest,
  source_ref: text('a source reference', (value) => value !== '', 2048),
  files: list(file, MAX_FILES, 1),
  /** Names what the quorum agreed on: the digest of all outputs. */
  outputs: digest,
  policy: table({ name, version: integer(1, 1_000_000_000), sha256: digest }),
  quorum: table({
    result: oneOf(['agreed', 'resolved'] as const),
    threshold: integer(1, 100),
    builders: list(table({ name, operator: name, site: name, simulated: boolean, statement: digest }), 2000, 1),
  }),
  log: text('an origin', isOrigin, 255),
  /** The release before it on this line, by the SHA-256 of its record. */
  previous: nullable(digest),
  time: tufTime,
});

export type ReleaseRecord = TypeOf<typeof releaseTable>;

export const RELEASE: DocumentKind<ReleaseRecord> = {
  noun: 'release record',
  payloadType: 'application/vnd.lockstep.release+json',
  decode: releaseTable,
};

/** What only the requester knows; everything else follows from the decision. */
export interface ReleaseWish {
  readonly line: string;
  readonly previous: string | null;
  /** RFC 3339 in UTC to the second. */
  readonly time: string;
}

/** The one record that an accepted decision gives; as text, why it gives none. */
export function deriveRelease(
  decision: Decision,
  facts: { readonly policy: Policy; readonly log: string; readonly source: string },
  wish: ReleaseWish,
): ReleaseRecord | string {
  const { result, accepted } = decision;
  const group = decision.groups.find((one) => one.digest === accepted);
  if ((result !== 'agreed' && result !== 'resolved') || group === undefined || accepted === null)
    return `the quorum is ${result}: ${decision.reason}`;
  const files = group.outputs.flatMap(({ name: file_, size, sha256, sha512, blake2b512 }) =>
    size === undefined ? [] : [{ name: file_, size, sha256, sha512, blake2b512 }],
  );
  if (files.length !== group.outputs.length) return 'the statements do not say how large the outputs are: build with a newer builder';
  const decoded = releaseTable(
    {
      schema: 'lockstep-release/v1',
      name: decision.package.name,
      version: decision.package.version,
      line: wish.line,
      build_id: decision.build_id,
      source_ref: facts.source,
      files,
      outputs: accepted,
      policy: { name: facts.policy.name, version: facts.policy.version, sha256: facts.policy.sha256 },
      quorum: {
        result,
        threshold: decision.threshold,
        builders: decision.builders
          .filter((one) => one.state === 'counted' && one.outputs === accepted)
          .map(({ name: builder, operator, site, simulated, statement }) => ({
            name: builder,
            operator,
            site,
            simulated,
            statement: statement ?? '',
          })),
      },
      log: facts.log,
      previous: wish.previous,
      time: wish.time,
    },
    [],
  );
  return decoded.ok
    ? decoded.value
    : `the outputs cannot be released: expected ${decoded.issues[0]?.expected ?? ''} at ${decoded.issues[0]?.path.join('.') ?? ''}`;
}

export function releaseBytes(value: ReleaseRecord): Uint8Array {
  return formatDocument(RELEASE, value);
}

/** SHA-256 of the record's bytes: names the release. */
export function releaseDigest(value: ReleaseRecord): Sha256 {
  return sha256Hex(releaseBytes(value));
}
