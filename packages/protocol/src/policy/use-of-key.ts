/** What a policy lists a key for. A key that it lists for one thing signs nothing else, whoever holds it. */
import { fromHex, toHex } from '../bytes/hex.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { type AnyKey, ed25519Key } from '../key/any-key.ts';
import type { KeyUse } from '../key/key-use.ts';
import type { RootMetadata } from '../tuf/metadata.ts';
import type { Policy } from './policy.ts';
import { materialOf } from './policy-problem.ts';

/** null when the policy does not name the key. */
export function useOfKey(policy: Policy, key: AnyKey): KeyUse | null {
  const material = materialOf(key);
  const has = (ids: readonly string[]): boolean => ids.includes(material);
  const people = (list: readonly { readonly key: { readonly id: string } }[]): string[] => list.map((one) => one.key.id);
  if (has(people(policy.builders))) return 'attestation';
  if (has(people(policy.checkers))) return 'checker';
  if (has(people(policy.coordinators))) return 'coordinator';
  if (has(people(policy.arbiters?.members ?? []))) return 'arbiter';
  if (has((policy.release?.keys ?? []).map((one) => materialOf(one.key)))) return 'release-dsse';
  const format = policy.release?.formats.find((one) => materialOf(one.key) === material);
  if (format !== undefined) return format.use;
  const logs = [...policy.logs.map((one) => one.key), ...[...policy.builders, ...policy.checkers].flatMap(({ log }) => log ?? [])];
  if (has(logs.map((one) => toHex(one.publicKey)))) return 'log';
  return has(policy.witnesses.flatMap((one) => one.keys.map((witness) => toHex(witness.publicKey)))) ? 'witness' : null;
}

/** Whether TUF's root metadata has this key, for whichever of its roles. */
export function isRootKey(root: RootMetadata | null, key: AnyKey): boolean {
  return key.algorithm === 'ed25519' && Object.values(root?.keys ?? {}).some((one) => one.keyval.public === materialOf(key));
}

/**
 * Root, targets, snapshot and timestamp have keys of their own: one that the policy lists too could be made to sign as the other.
 * @throws LockstepError POLICY_UNTRUSTED
 */
export function requireOwnRoleKeys(policy: Policy, root: RootMetadata): void {
  for (const { keyval } of Object.values(root.keys)) {
    const raw = fromHex(keyval.public, 32);
    const use = raw === null ? null : useOfKey(policy, ed25519Key(raw));
    if (use !== null)
      throw new LockstepError(
        'POLICY_UNTRUSTED',
        `The policy cannot be trusted: a key of the root metadata (${keyval.public.slice(0, 16)}) is listed in it for ${use} too`,
        'Each role has keys of its own: make another, and sign again.',
      );
  }
}
