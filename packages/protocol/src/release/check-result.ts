/** What a checker found before publication (spec/release.md). Signed by a checker of the policy, and logged. */
import { oneOf, table, text, type TypeOf } from '../decode/decode.ts';
import { isSha256 } from '../digest/digest.ts';
import type { DocumentKind } from '../dsse/document.ts';
import { CHECK_NAMES, type Policy } from '../policy/policy.ts';
import type { LoggedEntry } from '../quorum/redecide.ts';
import { readIfKind } from './read-if-kind.ts';

const digest = text('a SHA-256 in hex', isSha256, 64);

const checkResult = table({
  schema: oneOf(['lockstep-check/v1'] as const),
  build_id: digest,
  /** The outputs that were checked, by the digest of all of them. */
  outputs: digest,
  check: oneOf(CHECK_NAMES),
  result: oneOf(['pass', 'fail'] as const),
  detail: text('what was seen', (value) => value !== '' && !/[\u0000-\u001f\u007f]/.test(value), 2000),
});
export type CheckResult = TypeOf<typeof checkResult>;

export const CHECK_RESULT: DocumentKind<CheckResult> = {
  noun: 'check result',
  payloadType: 'application/vnd.lockstep.check+json',
  decode: checkResult,
};

/** Required checks that do not hold, each with the reason; the quorum itself is the check "rebuild" where it is two or more. */
export function missingChecks(
  policy: Policy,
  required: readonly string[],
  entries: readonly LoggedEntry[],
  about: { readonly buildId: string; readonly outputs: string; readonly threshold: number },
): string[] {
  const checkers = new Set<string>(policy.checkers.map((one) => one.key.id));
  const results = entries.flatMap((entry) => {
    const found = checkers.has(entry.signer) ? readIfKind(CHECK_RESULT, entry) : null;
    return found !== null && found.build_id === about.buildId && found.outputs === about.outputs ? [{ ...found, ...entry }] : [];
  });
  return required.flatMap((check) => {
    if (check === 'rebuild') return about.threshold >= 2 ? [] : ['rebuild: one builder alone has built it'];
    const mine = results.filter((one) => one.check === check);
    // The last word of each checker counts, and one that fails holds the release.
    const last = [...new Map(mine.sort((a, b) => a.index - b.index).map((one) => [one.signer, one])).values()];
    const failed = last.find((one) => one.result === 'fail');
    if (failed !== undefined) return [`${check}: failed: ${failed.detail}`];
    return last.length === 0 ? [`${check}: no checker of the policy has passed it`] : [];
  });
}
