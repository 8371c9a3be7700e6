/** The step "approval": whether enough release keys have approved what the quorum agreed on, to the letter. */
import { canonicalText } from '../json/canonical.ts';
import type { Policy } from '../policy/policy.ts';
import type { Decision } from '../quorum/decision.ts';
import type { LoggedEntry } from '../quorum/redecide.ts';
import { approvedRecords, type ApprovedRecord } from '../release/approvals.ts';
import { verifiedLevels } from '../release/vsa.ts';
import type { RootMetadata } from '../tuf/metadata.ts';

export interface ApprovalOf {
  readonly approved: ApprovedRecord | null;
  readonly detail: string;
  /** Why it is unsigned; null when enough have approved it. */
  readonly unsigned: string | null;
}

/** Approved is what the quorum agreed on, to the letter: a record of other files is one of another release. */
export function approvalOf(policy: Policy, entries: readonly LoggedEntry[], root: RootMetadata | null, decision: Decision): ApprovalOf {
  if (policy.release === null) return { approved: null, detail: '', unsigned: 'UNSIGNED: the policy names no release key' };
  const { threshold } = policy.release;
  const group = decision.groups.find((one) => one.digest === decision.accepted);
  const found = approvedRecords(policy, entries, root).filter(
    ({ record }) =>
      record.build_id === decision.build_id &&
      record.name === decision.package.name &&
      record.version === decision.package.version &&
      record.outputs === decision.accepted &&
      canonicalText(record.files) === canonicalText((group?.outputs ?? []).map((one) => ({ ...one }))),
  );
  const [best] = found;
  const names = best?.approvals.map((one) => one.seat).join(', ') ?? '';
  if (best !== undefined && best.approvals.length >= threshold)
    return {
      approved: best,
      detail: `${names} (${threshold} of ${policy.release.keys.length} needed), ${best.record.name} ${best.record.version} on ${best.record.line}, record ${best.digest.slice(0, 16)}, ${levelsOf(decision)}`,
      unsigned: null,
    };
  const rejected = found.flatMap((one) => one.rejected);
  return {
    approved: null,
    detail: '',
    unsigned: `UNSIGNED: approved by ${best?.approvals.length ?? 0} of the ${threshold} release keys that it needs${names === '' ? '' : ` (${names})`}${rejected.length === 0 ? '' : `; not counted: ${rejected.join('; ')}`}`,
  };
}

/** Of what was decided here: whoever has enough release keys can write more builders into a record than there were. */
function levelsOf({ builders, accepted }: Decision): string {
  return verifiedLevels({ quorum: { builders: builders.filter((one) => one.state === 'counted' && one.outputs === accepted) } }).join(' ');
}
