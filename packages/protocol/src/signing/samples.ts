/** Release keys, approvals, and a request for a release that builders agreed on, for tests. Keys come from fixed seeds: nothing here is a secret. */
import { ed25519 } from '@noble/curves/ed25519.js';
import { p256 } from '@noble/curves/nist.js';
import { formatBundle } from '../bundle/bundle.ts';
import { sampleDocumentSigner, type SampleNoteSigner } from '../bundle/samples.ts';
import { toBase64 } from '../bytes/base64.ts';
import { toHex } from '../bytes/hex.ts';
import { SOURCE_REF } from '../definition/samples.ts';
import { type DocumentKind, formatDocument } from '../dsse/document.ts';
import { type Envelope, IN_TOTO_PAYLOAD, pae } from '../dsse/envelope.ts';
import type { Json } from '../json/parse.ts';
import { type AnyKey, anyKeyFromSpki, anyKeyToPem, ed25519Key, rawEd25519 } from '../key/any-key.ts';
import { KEY_USES, type KeyUse } from '../key/key-use.ts';
import { FORMAT_USES, type Policy } from '../policy/policy.ts';
import { LOG_SIGNER, sampleBuilder, samplePolicy, sampleRule, WITNESS_ED25519 } from '../policy/samples.ts';
import { type LoggedEntry, redecide } from '../quorum/redecide.ts';
import { BUILD_ID, entry, output, statementBytes, type StatementParts } from '../quorum/samples.ts';
import { carry, CARRIED } from '../release/carried.ts';
import { KEY_CHANGE, KEY_REVOCATION, type KeyChange, type KeyRevocation } from '../release/key-documents.ts';
import { deriveRelease, RELEASE, type ReleaseRecord } from '../release/release-record.ts';
import { parseMetadata, type RootMetadata } from '../tuf/metadata.ts';
import { ROOT_KEYS, rootJson, signed } from '../tuf/samples.ts';
import { sampleBundlesOf } from '../verdict/samples.ts';
import type { NodeKnows } from './check-evidence.ts';
import { planRelease } from './plan.ts';
import type { ReleaseRequest } from './request.ts';

/** When the sample witnesses cosign. */
export const TIME = 1_760_000_000;
export const HOUR = 3600;
export const DAY = 86_400;
/** Numbers of keys: two builders, a checker, two release keys, whoever has things logged, and one that nobody knows. */
export const A = 11;
export const B = 12;
export const C = 13;
export const CHECKER = 14;
export const R1 = 15;
export const R2 = 16;
export const CARRIER = 92;
export const STRANGER = 91;

export interface SampleKey {
  readonly key: AnyKey;
  readonly sign: (message: Uint8Array) => Uint8Array;
}

/** The same key as `sampleSigner` has under this number. */
export function p256Key(number: number): SampleKey {
  const secret = new Uint8Array(32).fill(number);
  return {
    key: anyKeyFromSpki(sampleDocumentSigner(number).key.spki),
    sign: (message) => p256.sign(message, secret, { format: 'der' }),
  };
}

/** The same key as a log, a witness or a TUF role of the samples has under this number. */
export function edKey(number: number): SampleKey {
  const secret = new Uint8Array(32).fill(number);
  return { key: ed25519Key(ed25519.getPublicKey(secret)), sign: (message) => ed25519.sign(message, secret) };
}

/** An Ed25519 release key of the policy; approves in a carried envelope. */
export const R3 = edKey(103);
const KEYS: readonly Json[] = [
  { name: 'r1', key: anyKeyToPem(p256Key(R1).key) },
  { name: 'r2', key: anyKeyToPem(p256Key(R2).key) },
  { name: 'r3', key: anyKeyToPem(R3.key) },
];

/** Three builders that are independent, a checker, and two of three release keys. */
export function releasePolicy(change: Record<string, Json> = {}): Policy {
  return samplePolicy({
    builders: [sampleBuilder('a', A), sampleBuilder('b', B), sampleBuilder('c', C)],
    checkers: [sampleBuilder('k', CHECKER)],
    release: releaseJson(2),
    rules: [sampleRule()],
    ...change,
  });
}

export function releaseJson(threshold: number, keys: readonly Json[] = KEYS, formats: readonly Json[] = []): Json {
  return { threshold, keys, formats };
}

/** Has an entry for each format but Secure Boot, which signs no release. */
export function formatsJson(): Json[] {
  return FORMAT_USES.filter((use) => use !== 'secure-boot').map((use, index) => ({
    name: use,
    use,
    key: anyKeyToPem(edKey(110 + index).key),
  }));
}

/** With an archive of a Nix path, so that every format has something to sign. */
export function releaseOutputs(content = 'good'): ReturnType<typeof output>[] {
  return [output('hello', content), output('hello.nar', `archive of ${content}`)];
}

/** Statements one after the other, by number of key. */
export function statements(...said: readonly (number | readonly [number, StatementParts])[]): LoggedEntry[] {
  return said.map((one, index) => {
    const [signer, parts] = typeof one === 'number' ? [one, {}] : one;
    const payload = statementBytes({ invocation: `by ${signer}`, outputs: releaseOutputs(), ...parts });
    return entry(index, signer, IN_TOTO_PAYLOAD, payload);
  });
}

export function withDocument<T>(entries: readonly LoggedEntry[], signer: number, kind: DocumentKind<T>, value: T): LoggedEntry[] {
  return [...entries, entry(entries.length, signer, kind.payloadType, formatDocument(kind, value))];
}

export function envelopeOf<T>(kind: DocumentKind<T>, value: T, signers: readonly SampleKey[]): Envelope {
  const payload = formatDocument(kind, value);
  const message = pae(kind.payloadType, payload);
  return {
    payloadType: kind.payloadType,
    payload,
    signatures: signers.map(({ key, sign }) => ({ keyid: key.id, sig: sign(message) })),
  };
}

export function withCarried(entries: readonly LoggedEntry[], envelope: Envelope, buildId: string | null = null): LoggedEntry[] {
  return withDocument(entries, CARRIER, CARRIED, carry(envelope, buildId));
}

/** Signs the entry itself: a P-256 release key. */
export function withDirect(entries: readonly LoggedEntry[], signer: number, record: ReleaseRecord): LoggedEntry[] {
  return withDocument(entries, signer, RELEASE, record);
}

export function withApproval(entries: readonly LoggedEntry[], record: ReleaseRecord, ...signers: readonly SampleKey[]): LoggedEntry[] {
  return withCarried(entries, envelopeOf(RELEASE, record, signers), record.build_id);
}

export function keyChange(old: SampleKey, next: SampleKey, change: Partial<KeyChange> = {}): KeyChange {
  return {
    schema: 'lockstep-key-change/v1',
    use: 'release-dsse',
    old: old.key.id,
    new: anyKeyToPem(next.key),
    reason: 'yearly change',
    time: isoTime(TIME),
    overlap_until: null,
    made: null,
    ...change,
  };
}

export function withChange(
  entries: readonly LoggedEntry[],
  [old, next]: readonly [SampleKey, SampleKey],
  ...signers: readonly SampleKey[]
): LoggedEntry[] {
  return withCarried(entries, envelopeOf(KEY_CHANGE, keyChange(old, next), signers));
}

export function withRevocation(
  entries: readonly LoggedEntry[],
  key: SampleKey,
  from: number,
  ...signers: readonly SampleKey[]
): LoggedEntry[] {
  const value: KeyRevocation = {
    schema: 'lockstep-key-revocation/v1',
    use: 'release-dsse',
    key: key.key.id,
    why: 'stolen',
    reason: 'the disk is gone',
    time: isoTime(TIME),
    from: { log: LOG_SIGNER.key.name, index: from },
  };
  return withCarried(entries, envelopeOf(KEY_REVOCATION, value, signers));
}

/** Two of them are the threshold of `sampleRoot`. */
export const ROOT_SIGNERS: readonly SampleKey[] = ROOT_KEYS.map((number) => edKey(200 + number));

export function sampleRoot(): RootMetadata {
  const { signed: root } = parseMetadata('root', signed(rootJson(), [1, 2]));
  return root;
}

/** The id by which TUF calls a key of the root, not ours. */
export function tufIdOf(root: RootMetadata, { key }: SampleKey): string {
  const material = toHex(rawEd25519(key));
  return root.roles.root.keyids.find((id) => root.keys[id]?.keyval.public === material) ?? '';
}

export interface Wish {
  readonly line?: string;
  readonly previous?: string | null;
  /** Seconds since 1970. */
  readonly time?: number;
  readonly buildId?: string;
}

/** The record that the entries give; they have to be agreed on. */
export function recordOf(
  policy: Policy,
  entries: readonly LoggedEntry[],
  { line = 'main', previous = null, time = TIME + HOUR, buildId = BUILD_ID }: Wish = {},
): ReleaseRecord {
  const decided = redecide(policy, entries, buildId);
  if (decided === null) throw new TypeError('nobody says anything about the sample build');
  const facts = { policy, log: LOG_SIGNER.key.name, source: SOURCE_REF };
  const record = deriveRelease(decided.decision, facts, { line, previous, time: isoTime(time) });
  if (typeof record === 'string') throw new TypeError(record);
  return record;
}

/** Every use that a release has something for. */
export const ALL_USES = Object.keys(KEY_USES) as KeyUse[];

export function bundleTexts(entries: readonly LoggedEntry[], signers?: readonly SampleNoteSigner[]): string[] {
  return sampleBundlesOf(entries, signers ?? [LOG_SIGNER, WITNESS_ED25519]).map(formatBundle);
}

/** What a requester would send to a node with these uses. */
export function sampleRequest(
  policy: Policy,
  entries: readonly LoggedEntry[],
  { uses = ALL_USES, bundles, ...wish }: Wish & { readonly uses?: readonly KeyUse[]; readonly bundles?: readonly string[] } = {},
): ReleaseRequest {
  const record = recordOf(policy, entries, wish);
  const plan = planRelease(record, uses);
  if (typeof plan === 'string') throw new TypeError(plan);
  return {
    schema: 'lockstep-signing-request/v1',
    purpose: 'release',
    nodes: { 'node-1': null },
    time: record.time,
    expected: plan.map(({ use, file, message }) => ({ use, file, bytes: toBase64(message) })),
    build_id: record.build_id,
    line: record.line,
    previous: record.previous,
    policy: {},
    bundles: bundles ?? bundleTexts(entries),
    consistency: [],
  };
}

/** A node that has seen nothing yet, and trusts this policy. */
export function sampleKnows(policy: Policy, change: Partial<NodeKnows> = {}): NodeKnows {
  return {
    trust: { policy, currentUntil: TIME + 30 * DAY, root: null },
    logs: new Map(),
    releases: new Map(),
    uses: ALL_USES,
    lines: ['main'],
    now: TIME + 2 * HOUR,
    ...change,
  };
}

export function isoTime(seconds: number): string {
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`;
}
