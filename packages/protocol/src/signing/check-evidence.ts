/**
 * The verdict of a signing node on a request for a release: it takes nobody's word. From the pinned root to the policy,
 * from the bundles to the quorum, from that to the one release record, and from that to the bytes to be signed.
 */
import { isoTime } from '../time/iso-time.ts';
import { fromBase64 } from '../bytes/base64.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import { sha256Hex, type Sha256 } from '../digest/digest.ts';
import type { KeyUse } from '../key/key-use.ts';
import { sameHash } from '../merkle/hash.ts';
import { type TreeHead, verifyConsistency } from '../merkle/proof.ts';
import type { Decision } from '../quorum/decision.ts';
import { redecide } from '../quorum/redecide.ts';
import { sourceOf } from '../quorum/source-of.ts';
import { missingChecks } from '../release/check-result.ts';
import { deriveRelease, releaseBytes, type ReleaseRecord } from '../release/release-record.ts';
import { compareVersions } from '../release/version-order.ts';
import { tufSeconds } from '../tuf/metadata.ts';
import { openEvidence } from '../verdict/evidence.ts';
import { type Verdict, VerdictBuilder } from '../verdict/verdict.ts';
import { INCOMPLETE_NOTE, toEntry, type TrustedPolicy } from '../verdict/verify-release.ts';
import { type PlannedSignature, planRelease } from './plan.ts';
import type { ReleaseRequest } from './request.ts';

export const EVIDENCE_STEPS = [
  'policy',
  'log-inclusion',
  'witnesses',
  'log-memory',
  'quorum',
  'checks',
  'time',
  'release',
  'version',
  'bytes',
] as const;

/** What the node remembers, and what it holds. */
export interface NodeKnows {
  readonly trust: TrustedPolicy | string;
  /** The newest tree that it has seen of each log, by origin. */
  readonly logs: ReadonlyMap<string, TreeHead>;
  /** The last release that it signed of a package on a line, by `lineKey`. */
  readonly releases: ReadonlyMap<string, { readonly version: string; readonly record: Sha256; readonly release: ReleaseRecord }>;
  readonly uses: readonly KeyUse[];
  /** Lines of versions that it may begin. */
  readonly lines: readonly string[];
  /** Seconds since 1970: its own clock, and the latest time that anything trusted has shown it. */
  readonly now: number;
}

export interface Derived {
  readonly record: ReleaseRecord;
  readonly digest: Sha256;
  readonly plan: readonly PlannedSignature[];
  readonly decision: Decision;
  readonly origin: string;
  readonly tree: TreeHead;
  /** Seconds since 1970; null when the policy asks for no witness. */
  readonly witnessedAt: number | null;
  readonly previousVersion: string | null;
  /** Seconds since 1970: the node's clock, after what the witnesses saw. */
  readonly now: number;
}

export interface EvidenceVerdict {
  readonly verdict: Verdict;
  /** null unless every step passed. */
  readonly derived: Derived | null;
}

const DAY = 86_400;
/** A release that was prepared longer ago is prepared again, so that its evidence is as new as its signature. */
const MAX_AGE_DAYS = 30;

export function lineKey(name: string, line: string): string {
  return `${line} ${name}`;
}

export function checkEvidence(request: ReleaseRequest, knows: NodeKnows): EvidenceVerdict {
  const verdict = new VerdictBuilder(EVIDENCE_STEPS);
  const refuse = (step: (typeof EVIDENCE_STEPS)[number], why: string): EvidenceVerdict => ({
    verdict: verdict.fail(step, why),
    derived: null,
  });

  if (typeof knows.trust === 'string') return refuse('policy', knows.trust);
  const { policy } = knows.trust;
  if (tufSeconds(policy.expires) <= knows.now) return refuse('policy', `it expired at ${policy.expires}`);
  if (knows.trust.currentUntil <= knows.now)
    return refuse('policy', `what is current is only known until ${isoTime(knows.trust.currentUntil)}: hand in a fresh timestamp`);
  verdict.pass('policy', `${policy.name}, version ${policy.version}, until ${policy.expires}`);

  const named = request.bundles.map((text, index) => ({ name: `bundle ${index + 1}`, bytes: toUtf8(text) }));
  const opened = openEvidence(named, policy);
  if (typeof opened === 'string') return refuse('log-inclusion', opened);
  const { log, documents, witnessed } = opened;
  const tree = documents[0]?.opened.checkpoint;
  if (tree === undefined || documents.some((one) => one.opened.checkpoint.size !== tree.size))
    return refuse('log-inclusion', 'the bundles are of different checkpoints: make them all from the newest');
  verdict.pass('log-inclusion', `${documents.length} entries of ${log.key.name}, of ${tree.size}`);

  const unwitnessed = witnessed.find((one) => !one.met);
  if (unwitnessed !== undefined)
    return refuse('witnesses', `the checkpoint has the cosignatures of ${unwitnessed.names.join(', ') || 'no witness that counts'}`);
  const times = witnessed.map((one) => one.time).filter((time) => time !== null);
  const witnessedAt = times.length === 0 ? null : Math.min(...times);
  const witnessNames = witnessed[0]?.names.join(', ') ?? '';
  // A node whose own clock stands still goes by what the witnesses saw.
  const now = Math.max(knows.now, witnessedAt ?? 0);
  if (Math.min(tufSeconds(policy.expires), knows.trust.currentUntil) <= now)
    return refuse('witnesses', `they saw it at ${isoTime(now)}, when the policy or what says that it is current had expired`);
  if (witnessedAt !== null && now - witnessedAt > policy.checkpointMaxAgeDays * DAY)
    return refuse('witnesses', `they saw it at ${isoTime(witnessedAt)}, more than ${policy.checkpointMaxAgeDays} days ago`);
  verdict.pass('witnesses', witnessedAt === null ? 'the policy asks for none' : `${witnessNames}, at ${isoTime(witnessedAt)}`);
  if (policy.witnessQuorum === 'none') verdict.note('No witness has seen the log: it could show others something else.');

  const forked = inconsistency(knows.logs.get(log.key.name), tree, request.consistency);
  if (forked !== null) return refuse('log-memory', forked);
  verdict.pass('log-memory', knows.logs.has(log.key.name) ? 'it continues what this node has seen' : 'the first that this node sees of it');

  const entries = documents.map(toEntry);
  const decided = redecide(policy, entries, request.build_id);
  if (decided === null) return refuse('quorum', `no statement about the build ${request.build_id} is among the bundles`);
  const { decision } = decided;
  if (decision.result !== 'agreed' && decision.result !== 'resolved') return refuse('quorum', `${decision.result}: ${decision.reason}`);
  verdict.pass('quorum', `${decision.result}: ${decision.reason}`);
  for (const note of decision.notes) verdict.note(note);
  verdict.note(INCOMPLETE_NOTE);

  const missing = missingChecks(policy, decision.checks, entries, {
    buildId: request.build_id,
    outputs: decision.accepted ?? '',
    threshold: decision.threshold,
  });
  if (missing.length > 0) return refuse('checks', missing.join('; '));
  verdict.pass('checks', decision.checks.join(', ') || 'the policy asks for none');

  const time = tufSeconds(request.time);
  // It may be older than the checkpoint: the nodes of a threshold sign one record, and are asked on different days.
  if (time > now + DAY) return refuse('time', `${request.time} is in the future`);
  if (time < now - MAX_AGE_DAYS * DAY) return refuse('time', `${request.time} is more than ${MAX_AGE_DAYS} days ago`);
  verdict.pass('time', request.time);

  if (policy.release === null) return refuse('release', 'the policy names no release key: nothing is a release by it');
  const source = sourceOf(entries, request.build_id);
  const record = deriveRelease(decision, { policy, log: log.key.name, source }, request);
  if (typeof record === 'string') return refuse('release', record);
  const digest = sha256Hex(releaseBytes(record));
  verdict.pass('release', `${record.name} ${record.version}, ${record.files.length} files, record ${digest.slice(0, 16)}`);

  const latest = knows.releases.get(lineKey(record.name, record.line));
  const backwards = versionProblem(record, digest, latest, knows.lines);
  if (backwards !== null) return refuse('version', backwards);
  // Another seat, or other holders, may have signed what came between.
  if (latest !== undefined && latest.record !== digest && record.previous !== latest.record)
    verdict.note(
      `The release before it (${record.previous?.slice(0, 16) ?? 'none'}) is not the one that this node signed last (${latest.version}).`,
    );
  verdict.pass(
    'version',
    latest === undefined ? `the first on the line ${record.line}` : `after ${latest.version} on the line ${record.line}`,
  );

  const plan = planRelease(record, knows.uses);
  if (typeof plan === 'string') return refuse('bytes', plan);
  const differing = differentBytes(plan, request.expected);
  if (differing !== null) return refuse('bytes', differing);
  verdict.pass('bytes', `${plan.length} signatures over what follows from the evidence`);
  return {
    verdict: verdict.done(),
    derived: { record, digest, plan, decision, origin: log.key.name, tree, witnessedAt, previousVersion: latest?.version ?? null, now },
  };
}

/** A log goes on from what was seen of it, or it has forked, or somebody shows an old one. */
function inconsistency(seen: TreeHead | undefined, tree: TreeHead, proofs: ReleaseRequest['consistency']): string | null {
  if (seen === undefined) return null;
  if (tree.size < seen.size) return `the checkpoint has ${tree.size} entries, and this node has seen ${seen.size}`;
  if (tree.size === seen.size) return sameHash(tree.root, seen.root) ? null : `a split view: two trees of size ${seen.size}`;
  const proof = proofs.find((one) => one.size === seen.size);
  if (proof === undefined) return `a proof from the ${seen.size} entries that this node has seen is missing`;
  const hashes = proof.hashes.map((hash) => fromBase64(hash) ?? new Uint8Array(0));
  return verifyConsistency(seen, tree, hashes) ? null : `a fork: it does not continue the ${seen.size} entries that this node has seen`;
}

function versionProblem(
  record: ReleaseRecord,
  digest: Sha256,
  latest: { readonly version: string; readonly record: Sha256; readonly release: ReleaseRecord } | undefined,
  lines: readonly string[],
): string | null {
  if (latest === undefined) {
    if (!lines.includes(record.line)) return `the line ${record.line} is not one of this node’s (${lines.join(', ')})`;
    return null;
  }
  const order = compareVersions(record.version, latest.version);
  if (order < 0) return `${record.version} goes back: ${latest.version} was signed on the line ${record.line}`;
  if (digest === latest.record) return null;
  if (order === 0) {
    // The policy was signed again between the approvals of one release: the same files of the same build, by a newer policy.
    const { release } = latest;
    const same =
      release.build_id === record.build_id && release.outputs === record.outputs && record.policy.version > release.policy.version;
    return same ? null : `${latest.version} was signed before with another record (${latest.record.slice(0, 16)})`;
  }
  return null;
}

function differentBytes(plan: readonly PlannedSignature[], expected: ReleaseRequest['expected']): string | null {
  if (plan.length === 0) return 'this node has no key that signs anything of it';
  for (const { use, file, message } of plan) {
    const asked = expected.filter((one) => one.use === use && one.file === file);
    const bytes = asked.length === 1 ? fromBase64(asked[0]?.bytes ?? '') : null;
    if (asked.length !== 1) return `${use} ${file ?? ''}: the request has ${asked.length} such entries instead of one`;
    if (bytes === null || !sameHash(bytes, message))
      return `${use} ${file ?? ''}: the bytes that were handed in do not follow from the evidence`;
  }
  return null;
}
