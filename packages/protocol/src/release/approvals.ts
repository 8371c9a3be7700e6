/** Who has approved a release: signatures over one release record, logged, by keys that counted where they stand. */
import { sha256Hex, type Sha256 } from '../digest/digest.ts';
import type { Policy } from '../policy/policy.ts';
import type { LoggedEntry } from '../quorum/redecide.ts';
import type { RootMetadata } from '../tuf/metadata.ts';
import { CARRIED, carriedEnvelope, isSignedBy } from './carried.ts';
import { readIfKind } from './read-if-kind.ts';
import { releaseKeys, type SeatKey } from './release-keys.ts';
import { RELEASE, type ReleaseRecord } from './release-record.ts';

export interface Approval {
  readonly seat: string;
  readonly key: Sha256;
  /** Index of its entry. */
  readonly index: number;
}

export interface ApprovedRecord {
  readonly record: ReleaseRecord;
  /** SHA-256 of the record's bytes. */
  readonly digest: Sha256;
  /** Each seat at most once. */
  readonly approvals: readonly Approval[];
  /** Signatures by keys of the policy that do not count, each with the reason. */
  readonly rejected: readonly string[];
}

/** Every release record that any key of the policy has signed, the most approved first. */
export function approvedRecords(policy: Policy, entries: readonly LoggedEntry[], root: RootMetadata | null): ApprovedRecord[] {
  const keys = releaseKeys(policy, entries, root);
  const records = new Map<Sha256, { record: ReleaseRecord; approvals: Map<string, Approval>; rejected: string[] }>();
  for (const entry of [...entries].sort((a, b) => a.index - b.index)) {
    for (const { payload, record, signers } of signedRecords(entry, keys)) {
      // Anybody can have records logged.
      if (signers.length === 0) continue;
      const digest = sha256Hex(payload);
      const found = records.get(digest) ?? { record, approvals: new Map<string, Approval>(), rejected: [] };
      records.set(digest, found);
      for (const one of signers) {
        const why = rejection(one, entry, record);
        if (why !== null) found.rejected.push(`${one.seat} (${one.key.id.slice(0, 16)}): ${why}`);
        else if (!found.approvals.has(one.seat)) found.approvals.set(one.seat, { seat: one.seat, key: one.key.id, index: entry.index });
      }
    }
  }
  return [...records]
    .map(([digest, { record, approvals, rejected }]) => ({ record, digest, approvals: [...approvals.values()], rejected }))
    .sort((a, b) => b.approvals.length - a.approvals.length || (a.digest < b.digest ? -1 : 1));
}

/** Why a good signature does not count where it stands; null when it does. */
function rejection(one: SeatKey, entry: LoggedEntry, record: ReleaseRecord): string | null {
  if (record.log !== entry.origin) return `the record is of the log ${record.log}`;
  if (entry.index < one.from) return 'signed before it was named';
  return entry.index < one.until ? null : (one.ended ?? 'ended');
}

interface SignedRecord {
  readonly payload: Uint8Array;
  readonly record: ReleaseRecord;
  readonly signers: readonly SeatKey[];
}

function signedRecords(entry: LoggedEntry, keys: readonly SeatKey[]): SignedRecord[] {
  const direct = readIfKind(RELEASE, entry);
  if (direct !== null) return [{ payload: entry.payload, record: direct, signers: keys.filter((one) => one.key.id === entry.signer) }];
  const document = readIfKind(CARRIED, entry);
  if (document === null) return [];
  const envelope = carriedEnvelope(document);
  const record = readIfKind(RELEASE, envelope);
  if (record === null) return [];
  const signers = keys.filter((one) => isSignedBy(envelope, one.key));
  return [{ payload: envelope.payload, record, signers }];
}
