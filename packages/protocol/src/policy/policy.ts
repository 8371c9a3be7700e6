/**
 * The policy: who counts, for what, and how many of them. A target under TUF's targets role, never a database row. What
 * stands here was signed offline; nothing that a farm says later adds a builder to it.
 */
import type { WitnessGroup } from '../checkpoint/witness-policy.ts';
import type { Sha256 } from '../digest/digest.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import type { AnyKey } from '../key/any-key.ts';
import type { KeyUse } from '../key/key-use.ts';
import type { PublicKey } from '../key/p256.ts';
import type { VerifierKey } from '../note/verifier-key.ts';
import { tufSeconds } from '../tuf/metadata.ts';
import type { FailureDomain } from './domain.ts';

/** The name of the target. */
export const POLICY_TARGET = 'policy.json';

/** Ambient facts that builders can be dealt (spec/commitment.md). */
export const VARIATION_NAMES = ['clock', 'directory-order', 'address-layout', 'kernel', 'cpu-model', 'memory', 'load'] as const;
export type VariationName = (typeof VARIATION_NAMES)[number];

/** What has to hold before publication, besides the quorum. */
export const CHECK_NAMES = ['hashes', 'signatures', 'install', 'dependencies', 'rebuild'] as const;

export interface PolicyKey {
  readonly name: string;
  readonly key: PublicKey;
}

/** Approves releases: ECDSA P-256 or Ed25519 (also of a threshold). */
export interface ReleaseKey {
  readonly name: string;
  readonly key: AnyKey;
}

/** Keys whose signatures other tools check (minisign, signify, ssh-keygen, nix, …): one for each format. */
export const FORMAT_USES = [
  'release-minisign',
  'release-signify',
  'release-ssh',
  'release-note',
  'release-raw',
  'nix-cache',
  'secure-boot',
] as const;

export interface FormatKey extends ReleaseKey {
  readonly use: KeyUse;
}

export interface PolicyBuilder extends PolicyKey {
  readonly domain: FailureDomain;
  readonly tiers: readonly 'container'[];
  readonly log: VerifierKey | null;
}

interface Keeper {
  readonly operator: string;
  readonly site: string;
  readonly simulated: boolean;
}

export interface PolicyLog extends Keeper {
  readonly key: VerifierKey;
}

/** One witness, whichever of its keys (Ed25519, ML-DSA-44) it has signed with. */
export interface PolicyWitness extends Keeper {
  readonly name: string;
  readonly keys: readonly VerifierKey[];
}

export interface PolicyRule {
  /** A package's name, where * stands for anything. The first rule that fits decides. */
  readonly packages: string;
  readonly tier: 'container';
  /** k: so many builders from so many independent domains have to agree on every output. */
  readonly quorum: number;
  readonly commitments: 'required' | 'none';
  /** Ambient facts in which at least two of those who agree have to differ. */
  readonly variations: readonly VariationName[];
  readonly checks: readonly string[];
  readonly sources: readonly string[];
}

export interface Policy {
  readonly name: string;
  readonly version: number;
  readonly expires: string;
  /** SHA-256 of the document's bytes. */
  readonly sha256: Sha256;
  readonly builders: readonly PolicyBuilder[];
  readonly checkers: readonly PolicyBuilder[];
  readonly coordinators: readonly PolicyKey[];
  readonly arbiters: { readonly threshold: number; readonly members: readonly PolicyKey[] } | null;
  readonly release: { readonly threshold: number; readonly keys: readonly ReleaseKey[]; readonly formats: readonly FormatKey[] } | null;
  readonly logs: readonly PolicyLog[];
  readonly witnesses: readonly PolicyWitness[];
  readonly witnessGroups: readonly WitnessGroup[];
  readonly witnessQuorum: string;
  readonly checkpointMaxAgeDays: number;
  readonly rules: readonly PolicyRule[];
}

/** The rule that decides about a package; null when none does, and then nothing of it counts. */
export function ruleFor(policy: Policy, packageName: string, tier: string): { rule: PolicyRule; index: number } | null {
  const index = policy.rules.findIndex((rule_) => rule_.tier === tier && matches(rule_.packages, packageName));
  const found = policy.rules[index];
  return found === undefined ? null : { rule: found, index };
}

export function isTrustedSource(rule_: PolicyRule, sourceRef: string): boolean {
  return rule_.sources.some((one) => matches(one, sourceRef));
}

/** `*` stands for any characters; found by searching for the parts between, so that no pattern takes long. */
export function matches(pattern_: string, value: string): boolean {
  const [first = '', ...rest] = pattern_.split('*');
  if (rest.length === 0) return value === pattern_;
  const last = rest.pop() ?? '';
  if (!value.startsWith(first) || value.length < first.length + last.length || !value.endsWith(last)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = value.indexOf(part, at);
    if (found === -1) return false;
    at = found + part.length;
  }
  return at <= value.length - last.length;
}

/** Whether a policy may be used at `now` (seconds since 1970), after `seen` was. @throws LockstepError POLICY_UNTRUSTED */
export function requireCurrentPolicy(policy: Policy, now: number, seenVersion: number): void {
  const refuse = (why: string): LockstepError =>
    new LockstepError('POLICY_UNTRUSTED', `The policy cannot be trusted: ${why}`, 'Get the newest policy from whoever signs it.');
  if (tufSeconds(policy.expires) <= now) throw refuse(`it expired at ${policy.expires}`);
  if (policy.version < seenVersion) throw refuse(`version ${policy.version} is older than version ${seenVersion}, which was seen before`);
}
