/** A signing request for a release: everything that nodes need to come to the same bytes by themselves. */
import { readFileSync, statSync } from 'node:fs';
import { toBase64 } from '@lockstep/protocol/bytes/base64';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { KeyUse } from '@lockstep/protocol/key/key-use';
import type { Policy } from '@lockstep/protocol/policy/policy';
import type { Decision } from '@lockstep/protocol/quorum/decision';
import { redecide } from '@lockstep/protocol/quorum/redecide';
import { approvedRecords } from '@lockstep/protocol/release/approvals';
import { deriveRelease, type ReleaseRecord, type ReleaseWish } from '@lockstep/protocol/release/release-record';
import { sourceOf } from '@lockstep/protocol/quorum/source-of';
import { type PlannedSignature, planRelease } from '@lockstep/protocol/signing/plan';
import { formatRequest } from '@lockstep/protocol/signing/request';
import type { TrustedPolicy } from '@lockstep/protocol/verdict/verify-release';
import { tufSeconds } from '@lockstep/protocol/tuf/metadata';
import { isoTime } from '@lockstep/protocol/time/iso-time';
import { proveConsistency } from '@lockstep/log/source/tree-reader';
import { policyFiles } from '@lockstep/signer/node/request-policy';
import type { Cells } from '@lockstep/store/cells';
import { knownCheckpoint } from '../signer/known-checkpoints.ts';
import type { NodeCard } from '../signer/node-card.ts';
import { about, bundlesOf, decidedBy, type LogEvidence } from './evidence.ts';
import { keepWish, keptWish } from './kept-wish.ts';
import { seenSizes } from './seen-sizes.ts';

export interface Wanted {
  readonly buildId: string;
  readonly line: string;
  /** Seconds since 1970. */
  readonly now: number;
  readonly nodes: readonly NodeCard[];
  /** Of the pinned root, and the folder of the signed policy. */
  readonly rootFile: string;
  readonly policyFolder: string;
  readonly cells: Cells;
}

export interface MadeRequest {
  readonly bytes: Uint8Array;
  readonly record: ReleaseRecord;
  readonly plan: readonly PlannedSignature[];
}

/** @throws LockstepError SIGNING_REFUSED when there is nothing that could be approved */
export async function makeReleaseRequest(trust: TrustedPolicy, evidence: LogEvidence, wanted: Wanted): Promise<MadeRequest> {
  const { policy } = trust;
  const refuse = (why: string): LockstepError =>
    new LockstepError('SIGNING_REFUSED', `There is nothing to approve: ${why}`, 'lockstep quorum explain says how far the quorum is.');
  if (policy.release === null) throw refuse('the policy names no release key, so nothing is a release by it');
  const entries = decidedBy(about(evidence, new Set([wanted.buildId])));
  const decision = redecide(policy, entries, wanted.buildId)?.decision;
  if (decision === undefined) throw refuse(`no builder of the policy says anything about the build ${wanted.buildId}`);
  const wish = wishFor(trust, evidence, decision, wanted);
  const record = deriveRelease(decision, { policy, log: evidence.key.name, source: sourceOf(entries, wanted.buildId) }, wish);
  if (typeof record === 'string') throw refuse(record);
  const plan = planRelease(record, usesOf(policy));
  if (typeof plan === 'string') throw refuse(plan);
  keepWish(wanted.cells, wanted.buildId, wish);
  const { size } = evidence.view.checkpoint;
  const sizes = seenSizes(wanted.cells, wanted.nodes, evidence.key.name).filter((one) => one > 0 && one < size);
  const bytes = formatRequest({
    schema: 'lockstep-signing-request/v1',
    purpose: 'release',
    nodes: Object.fromEntries(wanted.nodes.map((card) => [card.name, knownCheckpoint(wanted.cells, card)])),
    time: wish.time,
    expected: plan.map(({ use, file, message }) => ({ use, file, bytes: toBase64(message) })),
    build_id: wanted.buildId,
    line: wish.line,
    previous: record.previous,
    policy: policyFiles(readFileSync(wanted.rootFile), repositoryReader(wanted.policyFolder), wanted.now),
    bundles: (await bundlesOf(evidence, entries)).map((one) => one.text),
    consistency: await Promise.all(
      sizes.map(async (from) => ({ size: from, hashes: (await proveConsistency(evidence.source, from, size)).map(toBase64) })),
    ),
  });
  return { bytes, record, plan };
}

/** Nodes refuse what was prepared more than 30 days ago. */
const BEGUN_DAYS = 29;

/** Keys that approve, and those of each format that the policy lists. */
function usesOf(policy: Policy): KeyUse[] {
  return ['release-dsse', ...new Set((policy.release?.formats ?? []).map((one) => one.use))];
}

/**
 * What was begun is gone on with: the nodes of a threshold have to sign the same record, also when they are asked on
 * different days. What the log has of it comes first, then what was asked for here before.
 */
function wishFor({ policy, root }: TrustedPolicy, evidence: LogEvidence, decision: Decision, wanted: Wanted): ReleaseWish {
  const begun = approvedRecords(policy, evidence.entries, root).find(
    ({ record, approvals }) =>
      approvals.length > 0 &&
      // A key that was stolen can have logged one with a time that no node takes.
      Math.abs(tufSeconds(record.time) - wanted.now) < BEGUN_DAYS * 86_400 &&
      record.build_id === wanted.buildId &&
      record.line === wanted.line &&
      record.policy.sha256 === policy.sha256,
  );
  if (begun !== undefined) return { line: begun.record.line, previous: begun.record.previous, time: begun.record.time };
  const kept = keptWish(wanted.cells, wanted.buildId, wanted.now);
  const previous = previousOf({ policy, root }, evidence, decision.package.name, wanted.line, wanted.buildId);
  if (kept !== null && kept.line === wanted.line && kept.previous === previous) return kept;
  return { line: wanted.line, time: timeAfter(evidence, wanted.now), previous };
}

/** Not before the witnesses saw it; to the second. */
function timeAfter({ view }: LogEvidence, now: number): string {
  const times = view.signedBy.flatMap(({ time }) => time ?? []);
  const seconds = Math.max(Math.floor(now), ...times);
  return isoTime(seconds);
}

/** The last release of it on this line that enough have approved; its own record is not before itself. */
function previousOf(
  { policy, root }: Pick<TrustedPolicy, 'policy' | 'root'>,
  { entries }: LogEvidence,
  name: string,
  line: string,
  buildId: string,
): string | null {
  const before = approvedRecords(policy, entries, root)
    .filter(
      ({ record, approvals }) =>
        record.name === name && record.line === line && record.build_id !== buildId && approvals.length >= (policy.release?.threshold ?? 1),
    )
    .sort((a, b) => Math.max(...b.approvals.map((one) => one.index)) - Math.max(...a.approvals.map((one) => one.index)));
  return before[0]?.digest ?? null;
}

const MAX_FILE = 16 << 20;

function repositoryReader(folder: string): (path: string) => Uint8Array | null {
  const base = statSync(`${folder}/repository/metadata`, { throwIfNoEntry: false }) === undefined ? folder : `${folder}/repository`;
  return (path) => {
    const stat = statSync(`${base}/${path}`, { throwIfNoEntry: false });
    return stat === undefined || !stat.isFile() || stat.size > MAX_FILE ? null : new Uint8Array(readFileSync(`${base}/${path}`));
  };
}
