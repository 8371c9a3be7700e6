/** Reads a policy: a closed schema, and then what it may not say although each field is well-formed. */
import { type Decoder, boolean, integer, list, nullable, oneOf, optional, table, text, type TypeOf } from '../decode/decode.ts';
import { issueError } from '../decode/issue-error.ts';
import { type Sha256, sha256Hex } from '../digest/digest.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { lineAndColumn, parseJsonWithPositions } from '../json/parse.ts';
import { fromUtf8 } from '../bytes/utf8.ts';
import { anyKeyFromPem } from '../key/any-key.ts';
import { publicKeyFromPem } from '../key/p256.ts';
import { parseVerifierKey } from '../note/verifier-key.ts';
import { tufTime } from '../tuf/metadata.ts';
import type { FailureDomain } from './domain.ts';
import { CHECK_NAMES, FORMAT_USES, type Policy, type ReleaseKey, type PolicyBuilder, type PolicyKey, VARIATION_NAMES } from './policy.ts';
import { policyProblem } from './policy-problem.ts';

export const POLICY_SCHEMA = 'lockstep-policy/v1';
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
  builders: list(worker, 2000, 1),
  checkers: optional(list(worker, 200), []),
  coordinators: optional(list(person, 20), []),
  arbiters: optional(nullable(table({ threshold: integer(2, 100), members: list(person, 100, 2) })), null),
  release: optional(
    nullable(
      table({
        threshold: integer(1, 100),
        keys: list(person, 100, 1),
        formats: optional(list(table({ name: word, use: oneOf(FORMAT_USES), key: pem }), 100), []),
      }),
    ),
    null,
  ),
  logs: optional(list(table({ key: vkey, ...keeper }), 100), []),
  witnesses: optional(list(table({ name: word, keys: list(vkey, 2, 1), ...keeper }), 100), []),
  witness_groups: optional(list(table({ name: word, threshold: integer(1, 100), members: list(word, 100, 1) }), 100), []),
  witness_quorum: optional(word, 'none'),
  checkpoint_max_age_days: optional(integer(1, 36_500), 90),
  rules: list(rule, 1000, 1),
});

type Document = TypeOf<typeof decode>;

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
    release: document.release === null ? null : releaseOf(document.release),
    logs: document.logs.map((one) => ({ ...one, key: named(one.operator, parseVerifierKey, one.key) })),
    witnesses: document.witnesses.map((one) => ({ ...one, keys: one.keys.map((key) => named(one.name, parseVerifierKey, key)) })),
    witnessGroups: document.witness_groups,
    witnessQuorum: document.witness_quorum,
    checkpointMaxAgeDays: document.checkpoint_max_age_days,
    rules: document.rules.map((one) => ({ ...one, commitments: one.commitments ?? (one.quorum > 1 ? 'required' : 'none') })),
  };
}

function releaseOf(release: NonNullable<Document['release']>): NonNullable<Policy['release']> {
  const anyKey = (one: { readonly name: string; readonly key: string }): ReleaseKey => ({
    name: one.name,
    key: named(one.name, anyKeyFromPem, one.key),
  });
  return {
    threshold: release.threshold,
    keys: release.keys.map(anyKey),
    formats: release.formats.map((one) => ({ ...anyKey(one), use: one.use })),
  };
}

function named<T>(name: string, parse: (text: string) => T, key: string): T {
  try {
    return parse(key);
  } catch (error) {
    throw new TypeError(`the key of ${name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
