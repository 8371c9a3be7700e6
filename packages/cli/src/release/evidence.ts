/** What a log has about a build, for a verdict, a decision or a signing node; and what it says of keys. */
import { formatBundle } from '@lockstep/protocol/bundle/bundle';
import { OPENING, type Opening, OUTCOME } from '@lockstep/protocol/commitment/documents';
import { readDocument } from '@lockstep/protocol/dsse/document';
import { IN_TOTO_PAYLOAD } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Policy } from '@lockstep/protocol/policy/policy';
import { readClaim } from '@lockstep/protocol/quorum/claim';
import { CARRIED } from '@lockstep/protocol/release/carried';
import { RELEASE } from '@lockstep/protocol/release/release-record';
import { type AboutBuild, entriesAbout } from '@lockstep/log/watch/entries-about';
import { makeBundle } from '@lockstep/log/watch/make-bundle';
import { openPolicyLog } from '../policy-log.ts';
import type { OpenedLog } from '../farm-log.ts';

export interface LogEvidence extends OpenedLog {
  /** Documents that count by the policy, and approvals and key documents, whoever had them logged. */
  readonly entries: readonly AboutBuild[];
}

/** @throws LockstepError CHECKPOINT_INVALID, NOTE_INVALID, WITNESSES_MISSING, LOG_CORRUPT */
export async function readEvidence(policy: Policy, where: string): Promise<LogEvidence> {
  const opened = await openPolicyLog(policy, where);
  // What strangers had logged says nothing by this policy, and may be made to be slow to look at.
  const counting = new Set<string>(
    [...policy.builders, ...policy.checkers, ...policy.coordinators, ...(policy.arbiters?.members ?? [])].map((one) => one.key.id),
  );
  const all = await entriesAbout(opened.source, opened.view, null);
  // Who was on a roster takes part in its round, also when the policy no longer lists them.
  for (const { roster } of openingsBy(policy, all)) for (const { key: member } of roster) counting.add(member);
  return { ...opened, entries: all.filter((entry) => counting.has(entry.signer) || isApproval(entry)) };
}

/** Their signatures are inside, or are a release key's: who counts is found by the policy and the log. */
function isApproval(entry: Pick<AboutBuild, 'payloadType'>): boolean {
  return entry.payloadType === CARRIED.payloadType || entry.payloadType === RELEASE.payloadType;
}

/** Builds of which a listed builder says that this file came out. */
export function buildsOf({ entries }: LogEvidence, sha256: string): Set<string> {
  return new Set(
    entries
      .filter((entry) => entry.payloadType === IN_TOTO_PAYLOAD)
      .filter((entry) => readClaim(entry.payload, entry.digest, entry.signer)?.outputs.some((output) => output.sha256 === sha256) === true)
      .map((entry) => entry.buildId),
  );
}

/** All about these builds, and about keys. */
export function about({ entries }: LogEvidence, builds: ReadonlySet<string>): AboutBuild[] {
  return entries.filter((entry) => builds.has(entry.buildId) || entry.buildId === '');
}

/** What a quorum is decided by: outcomes are somebody's word, and approvals come after it. */
export function decidedBy(entries: readonly AboutBuild[]): AboutBuild[] {
  return entries.filter((entry) => entry.payloadType !== OUTCOME.payloadType && !isApproval(entry));
}

export function bundlesOf({ source, key, view }: OpenedLog, entries: readonly AboutBuild[]): Promise<{ name: string; text: string }[]> {
  return Promise.all(
    entries.map(async (entry) => ({ name: `entry ${entry.index}`, text: formatBundle(await makeBundle(source, key, view, entry.index)) })),
  );
}

function openingsBy(policy: Policy, entries: readonly AboutBuild[]): Opening[] {
  return entries.flatMap((entry) => {
    if (!policy.coordinators.some((one) => one.key.id === entry.signer)) return [];
    try {
      return readDocument(OPENING, entry.payloadType, entry.payload) ?? [];
    } catch (error) {
      // A broken opening opens nothing.
      if (error instanceof LockstepError) return [];
      throw error;
    }
  });
}
