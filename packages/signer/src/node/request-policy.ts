/** The policy that a request carries, from the one root that the node pins. Bad files are a failed step, not an error. */
import { fromUtf8, toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parsePolicy } from '@lockstep/protocol/policy/parse-policy';
import { requireOwnRoleKeys } from '@lockstep/protocol/policy/use-of-key';
import { POLICY_TARGET, requireCurrentPolicy } from '@lockstep/protocol/policy/policy';
import type { ReleaseRequest } from '@lockstep/protocol/signing/request';
import type { Learned } from '@lockstep/protocol/signing/record';
import { readTarget, trustedTargets } from '@lockstep/protocol/tuf/client-workflow';
import type { TrustedPolicy } from '@lockstep/protocol/verdict/verify-release';

export interface RequestPolicy {
  /** As text: why it cannot be trusted. */
  readonly trust: TrustedPolicy | string;
  readonly seen: Learned['seen'];
}

/** @param now seconds since 1970 */
export function requestPolicy(root: Uint8Array, files: ReleaseRequest['policy'], seen: Learned['seen'], now: number): RequestPolicy {
  const file = (path: string): Uint8Array | null => (Object.hasOwn(files, path) ? toUtf8(files[path] ?? '') : null);
  try {
    const trusted = trustedTargets(root, file, now, seen);
    const policy = parsePolicy(readTarget(trusted, POLICY_TARGET, file), POLICY_TARGET);
    requireCurrentPolicy(policy, now, seen.policy);
    requireOwnRoleKeys(policy, trusted.root);
    return {
      trust: { policy, currentUntil: trusted.currentUntil, root: trusted.root },
      seen: { ...trusted.seen, policy: policy.version },
    };
  } catch (error) {
    if (error instanceof LockstepError) return { trust: error.message, seen };
    throw error;
  }
}

/** The files of a policy's repository that a request needs. @param read as the client workflow asks for them */
export function policyFiles(root: Uint8Array, read: (path: string) => Uint8Array | null, now: number): Record<string, string> {
  const files: Record<string, string> = {};
  const noted = (path: string): Uint8Array | null => {
    const bytes = read(path);
    const text = bytes === null ? null : fromUtf8(bytes);
    if (text !== null) files[path] = text;
    return bytes;
  };
  const trusted = trustedTargets(root, noted, now, { root: 0, timestamp: 0, snapshot: 0, targets: 0 });
  readTarget(trusted, POLICY_TARGET, noted);
  return files;
}
