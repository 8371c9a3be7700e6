/** What a person is shown before a node signs: what it is, who built it, what changed since the last release. */
import type { Derived } from '@lockstep/protocol/signing/check-evidence';
import type { KeyRequest } from '@lockstep/protocol/signing/request';
import type { ReleaseRecord } from '@lockstep/protocol/release/release-record';
import { verifiedLevels } from '@lockstep/protocol/release/vsa';

/** Unicode's ranges of right-to-left scripts (UAX 9, table 4): a terminal shows what follows them in another order. */
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/gu;

/** More of a foreign text would push the node’s own lines off the screen. */
const MAX_SHOWN = 300;
/** A key document with the longest reason and a key has less. */
const MAX_DOCUMENT = 4000;

/** Names come from a build: nothing of them may move a terminal's cursor, be invisible, or change the order of what stands beside it. */
function plain(text: string, most = MAX_SHOWN): string {
  const shown = text
    .replaceAll(/[^\p{L}\p{N}\p{P}\p{S} ]|\p{Default_Ignorable_Code_Point}/gu, '\u{fffd}')
    .replaceAll(RIGHT_TO_LEFT, '\u{fffd}');
  // A row of spaces could fill a line, and what follows would stand where the node's own words begin.
  const tight = shown.replaceAll(/[ \u2800]{2,}/g, ' ');
  return tight.length > most ? `${tight.slice(0, most)}…`.toWellFormed() : tight;
}

export function describeRelease({ record, digest, decision }: Derived, last: ReleaseRecord | null, notes: readonly string[]): string {
  const { quorum } = record;
  return [
    `APPROVE A RELEASE: ${plain(record.name)} ${plain(record.version)} (line ${record.line})`,
    `source    ${plain(record.source_ref)}`,
    `build id  ${record.build_id}`,
    `policy    ${plain(record.policy.name)}, version ${record.policy.version}`,
    `builders  ${quorum.result}, ${quorum.builders.length} of ${decision.of}, ${quorum.threshold} needed:`,
    ...quorum.builders.map(
      (one) => `          ${plain(one.name)} of ${plain(one.operator)}, ${plain(one.site)}${one.simulated ? ' (SIMULATED)' : ''}`,
    ),
    `levels    ${verifiedLevels(record).join(', ')}`,
    `files     ${record.files.length}, by SHA-256 and size:`,
    ...record.files.map((file) => `          ${file.sha256}  ${file.size}  ${plain(file.name)}`),
    `record    ${digest}`,
    ...changes(record, last),
    ...notes.map((note) => `note: ${plain(note)}`),
  ].join('\n');
}

function changes(record: ReleaseRecord, last: ReleaseRecord | null): string[] {
  if (last === null) return ['since     the first release of it that this node signs'];
  const names = (one: ReleaseRecord): string[] => one.files.map((file) => file.name);
  const builders = (one: ReleaseRecord): string =>
    one.quorum.builders
      .map(({ name, operator }) => `${name} of ${operator}`)
      .sort()
      .join(', ');
  const stem = (text: string): string => text.replace(/#.*$/, '');
  return [
    `since     ${plain(last.version)} (${last.time}):`,
    ...(record.build_id === last.build_id ? ['          the same build definition'] : []),
    ...(stem(record.source_ref) === stem(last.source_ref) ? [] : [`          ANOTHER SOURCE: it was ${plain(last.source_ref)}`]),
    ...(builders(record) === builders(last) ? [] : [`          other builders: it was ${plain(builders(last))}`]),
    ...(record.policy.sha256 === last.policy.sha256 ? [] : [`          another policy: it was version ${last.policy.version}`]),
    ...names(record)
      .filter((name) => !names(last).includes(name))
      .map((name) => `          new file ${plain(name)}`),
    ...names(last)
      .filter((name) => !names(record).includes(name))
      .map((name) => `          no longer: ${plain(name)}`),
  ];
}

export function describeKeyDocument(request: KeyRequest, text: string): string {
  return [`SIGN A KEY DOCUMENT: ${plain(request.payload_type)}`, plain(text, MAX_DOCUMENT)].join('\n');
}

export function describeTuf(role: string, version: number, expires: string, text: readonly string[]): string {
  return [`SIGN TUF METADATA: ${role}, version ${version}, until ${expires}`, ...text.map((one) => plain(one))].join('\n');
}
