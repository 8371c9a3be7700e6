/**
 * The policy: who counts, for what, and how many of them. A target under TUF's targets role, never a database row. What
 * stands here was signed offline; nothing that a farm says later adds a builder to it.
 */
import { type Decoder, boolean, integer, list, nullable, oneOf, optional, table, text, type TypeOf } from '../decode/decode.ts';
import { issueError } from '../decode/issue-error.ts';
import { type Sha256, sha256Hex } from '../digest/digest.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { lineAndColumn, parseJsonWithPositions } from '../json/parse.ts';
import { fromUtf8 } from '../bytes/utf8.ts';
import { type PublicKey, publicKeyFromPem } from '../key/p256.ts';
import { parseVerifierKey, type VerifierKey } from '../note/verifier-key.ts';
import { tufSeconds, tufTime } from '../tuf/metadata.ts';
import type { FailureDomain } from './domain.ts';
import { policyProblem } from './policy-problem.ts';

export const POLICY_SCHEMA = 'lockstep-policy/v1';
/** The name of the target. */
export const POLICY_TARGET = 'policy.json';

/** Ambient facts that builders can be dealt (spec/commitment.md). */
export const VARIATION_NAMES = ['clock', 'directory-order', 'address-layout', 'kernel', 'cpu-model', 'memory', 'load'] as const;
export type VariationName = (typeof VARIATION_NAMES)[number];

/** What has to hold before publication, besides the quorum. */
export const CHECK_NAMES = ['hashes', 'signatures', 'install', 'dependencies', 'rebuild'] as const;

const word = text('a name of letters, digits, "-", "_" and "."', (value) => /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(value), 100);
const phrase = text('a short text', (value) => value.trim() !== '' && !/[\u0000-\u001f\u007f]/.test(value), 200);
const pem = text('a public key in PEM', () => true, 2000);
const vkey = text('a verifier key (NAME+HEX+BASE64)', () => true, 3000);
const pattern = text('a name, where * stands for anything', (value) => value !== '' && !/[\u0000-\u001f\u007f]/.test(value), 2048);

const domain: Decoder<FailureDomain> = table({ operator: phrase, site: phrase, lineage: phrase, simulated: optional(boolean, false) });
const tiers = list(oneOf(['container'] as const), 1, 1);
const person = table({ name: word, key: pem });
const worker = table({ name: word, key: pem, domain, tiers: optional(tiers, ['container'] as const), log: optional(nullable(vkey), null) });
const keeper = { operator: phrase, site: phrase, simulated: optional(boolean, false) };

const rule = table({
  packages: pattern,
  tier: oneOf(['container'] as const),
  quorum: integer(1, 100),
  commitments: optional(oneOf(['required', 'none'] as const), null),
  variations: optional(list(oneOf(VARIATION_NAMES), VARIATION_NAMES.length), []),
  checks: optional(list(oneOf(CHECK_NAMES), CHECK_NAMES.length), []),
  sources: list(pattern, 10_000, 1),
});

const decode = table({
  schema: oneOf([POLICY_SCHEMA] as const),
  name: phrase,
  version: integer(1, 1_000_000_000),
  expires: tufTime,
  builders: list(worker, 200, 1),
  checkers: optional(list(worker, 200), []),
  coordinators: optional(list(person, 20), []),
  arbiters: optional(nullable(table({ threshold: integer(2, 100), members: list(person, 100, 2) })), null),
  release: optional(nullable(table({ threshold: integer(1, 100), keys: list(person, 100, 1) })), null),
  logs: optional(list(table({ key: vkey, ...keeper }), 100), []),
  witnesses: optional(list(table({ name: word, keys: list(vkey, 2, 1), ...keeper }), 100), []),
  witness_groups: optional(list(table({ name: word, threshold: integer(1, 100), members: list(word, 100, 1) }), 100), []),
  witness_quorum: optional(word, 'none'),
  checkpoint_max_age_days: optional(integer(1, 36_500), 90),
  rules: list(rule, 1000, 1),
});

type Document = TypeOf<typeof decode>;

export interface PolicyKey {
  readonly name: string;
  readonly key: PublicKey;
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
  readonly release: { readonly threshold: number; readonly keys: readonly PolicyKey[] } | null;
  readonly logs: readonly PolicyLog[];
  readonly witnesses: readonly PolicyWitness[];
  readonly witnessGroups: Document['witness_groups'];
  readonly witnessQuorum: string;
  readonly checkpointMaxAgeDays: number;
  readonly rules: readonly PolicyRule[];
}

const MAX_POLICY_BYTES = 4 << 20;

/** Well-formed and consistent; whether it is signed, current and unexpired is for the caller. @throws LockstepError POLICY_INVALID, JSON_INVALID */
export function parsePolicy(bytes: Uint8Array, file: string): Policy {
  const invalid = (why: string, line = 1, column = 1): LockstepError =>
    new LockstepError('POLICY_INVALID', why, 'spec/policy.md describes each field; "lockstep policy check" says what is wrong.', {
      at: { file, line, column },
    });
  if (bytes.length > MAX_POLICY_BYTES) throw invalid('the policy is larger than 4 MiB');
  const { value, offsetOf } = parseJsonWithPositions(bytes, file);
  const text_ = fromUtf8(bytes) ?? '';
  const decoded = decode(value, []);
  if (!decoded.ok) throw issueError('POLICY_INVALID', decoded.issues, (path) => ({ file, ...lineAndColumn(text_, offsetOf(path)) }));
  let policy: Policy;
  try {
    policy = fromDocument(decoded.value, sha256Hex(bytes));
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : String(error));
  }
  const problem = policyProblem(policy);
  if (problem !== null) throw invalid(problem);
  return policy;
}

function fromDocument(document: Document, sha256: Sha256): Policy {
  const keyed = (one: { readonly name: string; readonly key: string }): PolicyKey => ({
    name: one.name,
    key: named(one.name, publicKeyFromPem, one.key),
  });
  const builder = (one: Document['builders'][number]): PolicyBuilder => ({
    ...keyed(one),
    domain: one.domain,
    tiers: one.tiers,
    log: one.log === null ? null : named(one.name, parseVerifierKey, one.log),
  });
  return {
    name: document.name,
    version: document.version,
    expires: document.expires,
    sha256,
    builders: document.builders.map(builder),
    checkers: document.checkers.map(builder),
    coordinators: document.coordinators.map(keyed),
    arbiters: document.arbiters === null ? null : { threshold: document.arbiters.threshold, members: document.arbiters.members.map(keyed) },
    release: document.release === null ? null : { threshold: document.release.threshold, keys: document.release.keys.map(keyed) },
    logs: document.logs.map((one) => ({ ...one, key: named(one.operator, parseVerifierKey, one.key) })),
    witnesses: document.witnesses.map((one) => ({ ...one, keys: one.keys.map((key) => named(one.name, parseVerifierKey, key)) })),
    witnessGroups: document.witness_groups,
    witnessQuorum: document.witness_quorum,
    checkpointMaxAgeDays: document.checkpoint_max_age_days,
    rules: document.rules.map((one) => ({ ...one, commitments: one.commitments ?? (one.quorum > 1 ? 'required' : 'none') })),
  };
}

function named<T>(name: string, parse: (text: string) => T, key: string): T {
  try {
    return parse(key);
  } catch (error) {
    throw new TypeError(`the key of ${name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
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
