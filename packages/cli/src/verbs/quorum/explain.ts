/**
 * `lockstep quorum`: the decision about one definition, explained for each output, builder and domain: from statement
 * files, from a folder of bundles, or from a log or its mirror.
 */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { type Definition, buildId, decodeDefinition } from '@lockstep/protocol/definition/definition';
import { issueError } from '@lockstep/protocol/decode/issue-error';
import { digestBytes } from '@lockstep/protocol/digest/digest';
import { IN_TOTO_PAYLOAD, pae, parseEnvelope } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { canonicalText } from '@lockstep/protocol/json/canonical';
import { type Json, parseJson } from '@lockstep/protocol/json/parse';
import { verifyP256 } from '@lockstep/protocol/key/p256';
import type { Policy } from '@lockstep/protocol/policy/policy';
import { type Claim, readClaim } from '@lockstep/protocol/quorum/claim';
import { decideQuorum } from '@lockstep/protocol/quorum/decide';
import type { Decision } from '@lockstep/protocol/quorum/decision';
import { redecide } from '@lockstep/protocol/quorum/redecide';
import { openEvidence } from '@lockstep/protocol/verdict/evidence';
import { INCOMPLETE_NOTE, toEntry } from '@lockstep/protocol/verdict/verify-release';
import { entriesAbout } from '@lockstep/log/watch/entries-about';
import { EXIT } from '../../exit-code.ts';
import { openPolicyLog } from '../../policy-log.ts';
import { readDefinition, readProject } from '../../project.ts';
import { readNamedFile } from '../../read-file.ts';
import { type CommonOptions, runVerb } from '../../session.ts';
import { harmlessLine } from '../../show/harmless.ts';
import { policyFrom } from '../policy/explain.ts';

export interface QuorumOptions extends CommonOptions {
  readonly policy: string;
  readonly root?: string;
  readonly log?: string;
}

export function quorumExplain(what: string, statements: readonly string[], options: QuorumOptions): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    const policy = policyFrom(context, options.policy, options.root, 'warn');
    const decision =
      options.log !== undefined
        ? await fromLog(policy, options.log, buildIdOf(what))
        : statements.some((path) => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true || path.endsWith('.sigstore.json'))
          ? fromBundles(policy, statements, buildIdOf(what))
          : fromStatements(policy, definitionOf(what), statements);
    const partial = options.log === undefined && decision.round !== null ? [`note: ${INCOMPLETE_NOTE}`] : [];
    print([...describe(decision), ...partial].join('\n'), decisionData(decision));
    return exitOf(decision);
  });
}

/** The canonical JSON of a decision is what `--json` prints, so that two of them can be compared byte by byte. */
export function decisionData(decision: Decision): Record<string, unknown> {
  return JSON.parse(canonicalText(JSON.parse(JSON.stringify(decision)) as Json)) as Record<string, unknown>;
}

export function exitOf(decision: Decision): number {
  if (decision.result === 'agreed' || decision.result === 'resolved') return EXIT.ok;
  return decision.result === 'disputed' ? EXIT.notReproducible : EXIT.refusedByPolicy;
}

/** A project, a definition's JSON, or a build id. */
export function buildIdOf(what: string): string {
  return /^[0-9a-f]{64}$/.test(what) ? what : buildId(definitionOf(what));
}

function definitionOf(what: string): Definition {
  if (existsSync(what) && (statSync(what).isDirectory() || what.endsWith('.toml'))) return readDefinition(readProject(what));
  const bytes = readNamedFile(what);
  const decoded = decodeDefinition(parseJson(bytes, what));
  if (!decoded.ok) throw issueError('DOCUMENT_INVALID', decoded.issues, () => ({ file: what, line: 1, column: 1 }));
  return decoded.value;
}

async function fromLog(policy: Policy, where: string, id: string): Promise<Decision> {
  const { source, view } = await openPolicyLog(policy, where);
  return required(redecide(policy, await entriesAbout(source, view, id), id)?.decision, id);
}

function fromBundles(policy: Policy, paths: readonly string[], id: string): Decision {
  const files = paths.flatMap((path) => (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true ? bundlesIn(path) : [path]));
  const evidence = openEvidence(
    files.map((file) => ({ name: file, bytes: readNamedFile(file) })),
    policy,
  );
  if (typeof evidence === 'string')
    throw new LockstepError(
      'BUNDLE_INVALID',
      evidence,
      'Export them again: lockstep quorum export. If it stays so, somebody changed them.',
    );
  const unwitnessed = evidence.witnessed.find((one) => !one.met);
  if (unwitnessed !== undefined)
    throw new LockstepError(
      'WITNESSES_MISSING',
      `Too few witnesses that count have cosigned: ${unwitnessed.names.join(', ') || 'none'}`,
      'Do not rely on it: others may be shown another log.',
    );
  return required(redecide(policy, evidence.documents.map(toEntry), id)?.decision, id);
}

export function bundlesIn(folder: string): string[] {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true)
    throw new LockstepError('FILE_NOT_FOUND', `${folder} is no folder`, 'Name a folder of bundles (*.sigstore.json).');
  return readdirSync(folder)
    .filter((name) => name.endsWith('.sigstore.json'))
    .sort()
    .map((name) => `${folder}/${name}`);
}

function required(decision: Decision | undefined, id: string): Decision {
  if (decision === undefined)
    throw new LockstepError(
      'ROUND_REFUSED',
      `Nothing is known of build ${id}: no builder of the policy has a statement about it there`,
      'Check the build id, or wait for the builders.',
    );
  return decision;
}

/** Bare statements: nothing is known of when they were made, so nothing counts where commitments are required. */
function fromStatements(policy: Policy, definition: Definition, files: readonly string[]): Decision {
  if (files.length === 0)
    throw new LockstepError('USAGE', 'There are no statements', 'Name .intoto.json files, bundles, or a log with --log.');
  const claims = files.flatMap((file): Claim[] => {
    const envelope = parseEnvelope(readNamedFile(file));
    const message = pae(envelope.payloadType, envelope.payload);
    const builder = policy.builders.find(({ key }) => envelope.signatures.some(({ sig }) => verifyP256(key, message, sig)));
    if (builder === undefined || envelope.payloadType !== IN_TOTO_PAYLOAD)
      throw new LockstepError(
        'VERIFICATION_FAILED',
        `${file} is not signed by a builder of the policy`,
        'Leave it out: it counts for nothing.',
      );
    const claim = readClaim(envelope.payload, digestBytes(message).sha256, builder.key.id);
    if (claim === null)
      throw new LockstepError(
        'STATEMENT_INVALID',
        `${file} is no statement of a build that holds together`,
        'Run "lockstep verify" on it to see why.',
      );
    return [claim];
  });
  return decideQuorum({ policy, definition, claims, round: null, votes: [], alreadyPublic: false });
}

/** Each line is one: names and reasons are foreign, and could add lines of their own. */
export function describe(decision: Decision): string[] {
  return linesOf(decision).map(harmlessLine);
}

function linesOf(decision: Decision): string[] {
  const short = (digest: string | null): string => (digest === null ? '-' : digest.slice(0, 16));
  const width = Math.max(...decision.builders.map((one) => one.name.length));
  return [
    `${decision.result.toUpperCase()}: ${decision.package.name} ${decision.package.version}, build ${decision.build_id}`,
    decision.reason,
    `policy ${decision.policy.name} version ${decision.policy.version}, ${decision.rule === null ? 'no rule' : `rule ${decision.rule}`}: ${decision.threshold} of ${decision.of} builders${decision.round === null ? '' : `, round ${decision.round}`}`,
    'builders:',
    ...decision.builders.map(
      (one) =>
        `  ${one.name.padEnd(width)}  ${one.state.padEnd(11)}  outputs ${short(one.outputs)}  ${one.operator}/${one.site}${one.simulated ? ' (simulated)' : ''}, ${one.lineage}${one.reason === '' ? '' : `: ${one.reason}`}`,
    ),
    'results:',
    ...decision.groups.flatMap((group) => [
      `  ${short(group.digest)}  by ${group.builders.join(', ')}; ${group.independent} independent${group.digest === decision.accepted ? '; ACCEPTED' : ''}`,
      ...group.outputs.map((output) => `    ${output.sha256}  ${output.name}`),
    ]),
    ...(decision.differences.length === 0 ? [] : ['differences:']),
    ...decision.differences.flatMap((one) => [
      `  ${one.output}`,
      ...one.values.map((value) => `    ${value.sha256 ?? 'no such output'}  ${value.builders.join(', ')}`),
    ]),
    ...(decision.dispute === null ? [] : [`dispute ${decision.dispute}`]),
    ...(decision.suspects.length === 0 ? [] : [`suspects: ${decision.suspects.join(', ')}`]),
    ...(decision.resolution === null
      ? []
      : [`resolved by ${decision.resolution.arbiters.join(', ')}: ${decision.resolution.reasons.join(' / ')}`]),
    ...(decision.variations.required.length === 0
      ? []
      : [
          `variations: ${decision.variations.covered.join(', ') || 'none'}${decision.variations.missing.length === 0 ? '' : `; missing: ${decision.variations.missing.join(', ')}`}`,
        ]),
    ...decision.notes.map((note) => `note: ${note}`),
  ];
}
