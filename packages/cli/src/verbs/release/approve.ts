/**
 * `lockstep release approve`: asks the signing nodes, checks what they sign, writes it beside the artifacts, has it logged.
 * `lockstep release import` does the same with answers that were carried by hand.
 */
import { openAttestationKey } from '@lockstep/builder/attest/key';
import { parseBundle } from '@lockstep/protocol/bundle/bundle';
import { parseVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { readDocument } from '@lockstep/protocol/dsse/document';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { anyKeyFromSpki } from '@lockstep/protocol/key/any-key';
import { RELEASE, releaseDigest, type ReleaseRecord } from '@lockstep/protocol/release/release-record';
import { verifiedLevels } from '@lockstep/protocol/release/vsa';
import { planRelease, RECORD_FILE } from '@lockstep/protocol/signing/plan';
import type { MadeSignature } from '@lockstep/protocol/signing/record';
import { parseRequest } from '@lockstep/protocol/signing/request';
import { parsePae } from '@lockstep/protocol/log-entry/statement-path';
import { fromBase64 } from '@lockstep/protocol/bytes/base64';
import type { NodeKey } from '@lockstep/signer/frost/identity';
import { askApprover, checked, requireSigned, takeAnswer } from '../../release/ask.ts';
import { countForNobody } from '../../release/count-for-nobody.ts';
import { cardsOf } from '../../release/group-card.ts';
import { appendEnvelopes, releaseEnvelopes, sendEnvelopes } from '../../release/into-log.ts';
import { makeReleaseRequest } from '../../release/make-request.ts';
import { writeSignatureFiles } from '../../release/write-files.ts';
import { bundlesFromLog } from '../../release/bundles-from-log.ts';
import { withFarm } from '../../farm/connect.ts';
import { readNamedFile } from '../../read-file.ts';
import { runVerb, type Session } from '../../session.ts';
import { confirmation } from '../../signer/confirm.ts';
import { approversOf, findBuild, placesOf, type ReleaseOptions, secondsOf } from './release-options.ts';

interface Options extends ReleaseOptions {
  readonly out?: string;
  readonly into?: string;
}

export function releaseApprove(what: string, options: Options): Promise<void> {
  return runVerb(options, async (session) => {
    const { context } = session;
    const places = placesOf(options);
    const { cells } = context.store;
    const { trust, evidence, buildId } = await findBuild(what, places, cells, context.now());
    const approvers = approversOf(options);
    const made = await makeReleaseRequest(trust, evidence, {
      buildId,
      line: options.line,
      now: context.now(),
      nodes: cardsOf(approvers),
      rootFile: places.rootFile,
      policyFolder: places.policyFolder,
      cells,
    });
    const signatures: MadeSignature[] = [];
    const asked: string[] = [];
    for (const approver of approvers) {
      const name = approver.node?.name ?? approver.group?.group.ceremony.keyName ?? '';
      context.progress.note(`asking ${name}: ${made.bytes.length} bytes of evidence for ${made.record.name} ${made.record.version}`);
      const answer = await askApprover(approver, {
        request: made.bytes,
        plan: made.plan,
        cells,
        coordinator: requesterKey(context.settings.keyFile),
        line: {
          ...options,
          timeoutSeconds: secondsOf(options),
          confirm: confirmation(options),
        },
      });
      signatures.push(...answer.signatures);
      asked.push(...answer.nodes.map((one) => one.name));
    }
    for (const why of countForNobody(trust, evidence, signatures)) context.progress.warn(why);
    return finish(session, options, made.record, signatures, asked);
  });
}

export function releaseImport(request: string, answers: readonly string[], options: Options): Promise<void> {
  return runVerb(options, (session) => {
    const bytes = new Uint8Array(readNamedFile(request));
    const parsed = parseRequest(bytes);
    if (parsed.purpose !== 'release')
      throw new LockstepError('USAGE', `${request} is no request for a release`, 'Give the file of "lockstep release request".');
    // The record is in the request: what the release keys are asked to sign.
    const asked = parsed.expected.find((one) => one.use === 'release-dsse' && one.file === RECORD_FILE);
    const signed = asked === undefined ? null : parsePae(fromBase64(asked.bytes) ?? new Uint8Array(0));
    const record = signed === null ? null : readDocument(RELEASE, signed.payloadType, signed.payload);
    if (record === null)
      throw new LockstepError('DOCUMENT_INVALID', `${request} has no release record`, 'Make it again: lockstep release request.');
    const plan = planRelease(record, [...new Set(parsed.expected.map((one) => one.use))]);
    if (typeof plan === 'string') throw new LockstepError('DOCUMENT_INVALID', plan, 'Make the request again: lockstep release request.');
    const cards = cardsOf(approversOf(options));
    const nodes = answers.map((file) => {
      const answer = new Uint8Array(readNamedFile(file));
      const card = cards.find((one) => parseVerifierKey(one.log).name === parseBundle(answer).checkpoint.split('\n')[0]);
      if (card === undefined)
        throw new LockstepError('USAGE', `${file} is of none of the nodes that were named`, 'Give the card of the node with --node.');
      return takeAnswer(answer, card, bytes, session.context.store.cells);
    });
    for (const node of nodes) requireSigned(node);
    const signatures = checked(
      nodes.flatMap((one) => one.record.signatures),
      plan,
    );
    return finish(
      session,
      options,
      record,
      signatures,
      nodes.map((one) => one.name),
    );
  });
}

async function finish(
  { context, print }: Session,
  options: Options,
  record: ReleaseRecord,
  signatures: readonly MadeSignature[],
  nodes: readonly string[],
): Promise<number> {
  const written = options.out === undefined ? [] : writeSignatureFiles(options.out, record, signatures);
  const envelopes = releaseEnvelopes(record, signatures);
  const lines: string[] = [];
  if (options.into !== undefined) {
    const { appended, bundles } = await appendEnvelopes(options.into, context.settings.keyFile, envelopes, options.out ?? null);
    lines.push(`logged at ${appended.map((one) => one.index).join(', ')}`);
    written.push(...bundles);
  } else if (options.farm !== undefined) {
    await withFarm(options, ({ client }) => sendEnvelopes(client, envelopes));
    const bundles = options.out === undefined ? [] : await bundlesFromLog(placesOf(options), envelopes, options.out, context);
    lines.push(bundles.length > 0 ? 'logged by the farm' : 'taken by the farm, which logs it');
    written.push(...bundles);
  } else lines.push('not logged yet: give --farm or --into; until it is in the log it counts for nobody');
  print(
    [
      `${record.name} ${record.version} on ${record.line}: record ${releaseDigest(record)}`,
      `signed by ${nodes.join(', ')}: ${[...new Set(signatures.map((one) => one.use))].join(', ')}`,
      `levels ${verifiedLevels(record).join(', ')}`,
      ...lines,
      ...written.map((name) => `${options.out ?? ''}/${name}`),
    ].join('\n'),
    {
      schema: 'lockstep-release-approve/v1',
      record,
      digest: releaseDigest(record),
      nodes,
      levels: verifiedLevels(record),
      signatures: signatures.map(({ use, format, file, key }) => ({ use, format, file, key: key.id })),
      written,
    },
  );
  return 0;
}

/** What holders of shares know this machine by. It approves nothing. */
export function requesterKey(keyFile: string): NodeKey {
  const key = openAttestationKey(keyFile);
  return { public: anyKeyFromSpki(new Uint8Array(key.spki)), sign: (message) => Promise.resolve(key.sign(message)) };
}
