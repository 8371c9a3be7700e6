/**
 * Who may approve, at each place of the log: the policy's release keys, followed through the changes and revocations that
 * the log has. A seat is one name of the policy, whoever holds its key now: old and new key of one seat are one vote.
 */
import { fromHex } from '../bytes/hex.ts';
import type { Envelope } from '../dsse/envelope.ts';
import { type AnyKey, anyKeyFromPem, ed25519Key } from '../key/any-key.ts';
import type { Policy } from '../policy/policy.ts';
import { isRootKey, useOfKey } from '../policy/use-of-key.ts';
import type { LoggedEntry } from '../quorum/redecide.ts';
import type { RootMetadata } from '../tuf/metadata.ts';
import { CARRIED, carriedEnvelope, isSignedBy } from './carried.ts';
import { KEY_CHANGE, KEY_REVOCATION, type KeyChange, type KeyRevocation } from './key-documents.ts';
import { readIfKind } from './read-if-kind.ts';

export interface SeatKey {
  readonly seat: string;
  readonly key: AnyKey;
  /** Index of the entry from which it counts; 0 for a key of the policy. */
  readonly from: number;
  /** Index of the entry at which it has ended. */
  readonly until: number;
  /** Why it ended; null when it has not. */
  readonly ended: string | null;
  /** The change that named it; null for a key of the policy. */
  readonly reason: string | null;
}

interface KeyEnd {
  readonly until: number;
  readonly why: string;
}

/** A change or a revocation where it stands. Each key's signature is checked once, however often it is asked for. */
interface KeyDocument {
  readonly change: KeyChange | null;
  readonly revocation: KeyRevocation | null;
  readonly index: number;
  readonly origin: string;
  readonly isSignedBy: (key: AnyKey) => boolean;
  readonly isSignedByRoot: () => boolean;
}

/** @param entries of one log @param root whose threshold may speak for a key that is lost or stolen */
export function releaseKeys(policy: Policy, entries: readonly LoggedEntry[], root: RootMetadata | null): SeatKey[] {
  const documents = [...entries].sort((a, b) => a.index - b.index).flatMap((entry) => keyDocument(entry, root) ?? []);
  // A revocation can take away the right to name a successor after that has been named: so again, until nothing changes.
  // Each time at least one key more has ended, and ends never move forward.
  let ends = new Map<string, KeyEnd>();
  for (;;) {
    const keys = keysWith(policy, documents, ends, root);
    const next = endsOf(keys, documents);
    const same = next.size === ends.size && [...next].every(([id, end]) => ends.get(id)?.until === end.until);
    if (same) return keys;
    ends = new Map([...next].map(([id, end]) => [id, earlier(end, ends.get(id))]));
  }
}

function earlier(one: KeyEnd, other: KeyEnd | undefined): KeyEnd {
  return other !== undefined && other.until <= one.until ? other : one;
}

function keysWith(
  policy: Policy,
  documents: readonly KeyDocument[],
  ends: ReadonlyMap<string, KeyEnd>,
  root: RootMetadata | null,
): SeatKey[] {
  const seated = (seat: string, key: AnyKey, from: number, reason: string | null): SeatKey => {
    const end = ends.get(key.id);
    return { seat, key, from, until: end?.until ?? Number.POSITIVE_INFINITY, ended: end?.why ?? null, reason };
  };
  const keys = (policy.release?.keys ?? []).map(({ name, key }) => seated(name, key, 0, null));
  for (const { change, index, ...document } of documents) {
    const old = change === null ? undefined : keys.find((one) => one.key.id === change.old);
    const next = change === null ? null : keyOf(change.new);
    if (change === null || old === undefined || next === null) continue;
    // One key in two seats would be two votes, and one that the policy lists for something else signs nothing else.
    if (
      keys.some((one) => one.key.id === next.id) ||
      useOfKey(policy, next) !== null ||
      isRootKey(root, next) ||
      !document.isSignedBy(next)
    )
      continue;
    const byOld = index >= old.from && index < old.until && document.isSignedBy(old.key);
    if (byOld || document.isSignedByRoot()) keys.push(seated(old.seat, next, index, change.reason));
  }
  return keys;
}

/** A key can end itself from now on; only the root's threshold ends it from an earlier place on, as when it was stolen. */
function endsOf(keys: readonly SeatKey[], documents: readonly KeyDocument[]): Map<string, KeyEnd> {
  const ends = new Map<string, KeyEnd>();
  for (const { revocation, index, origin, ...document } of documents) {
    const key = revocation === null ? undefined : keys.find((one) => one.key.id === revocation.key);
    if (revocation === null || key === undefined || revocation.from.log !== origin) continue;
    const byRoot = document.isSignedByRoot();
    if (!byRoot && !document.isSignedBy(key.key)) continue;
    const until = byRoot ? Math.min(revocation.from.index, index) : index;
    ends.set(key.key.id, earlier({ until, why: `${revocation.why}: ${revocation.reason}` }, ends.get(key.key.id)));
  }
  return ends;
}

function keyDocument(entry: LoggedEntry, root: RootMetadata | null): KeyDocument | null {
  const carried = readIfKind(CARRIED, entry);
  if (carried === null) return null;
  const envelope = carriedEnvelope(carried);
  const change = readIfKind(KEY_CHANGE, envelope);
  const revocation = readIfKind(KEY_REVOCATION, envelope);
  if (change === null && revocation === null) return null;
  const signed = new Map<string, boolean>();
  const once = (name: string, check: () => boolean): boolean => {
    const known = signed.get(name) ?? check();
    signed.set(name, known);
    return known;
  };
  return {
    change,
    revocation,
    index: entry.index,
    origin: entry.origin,
    isSignedBy: (key) => once(key.id, () => isSignedBy(envelope, key)),
    isSignedByRoot: () => once('root', () => isSignedByRoot(envelope, root)),
  };
}

function keyOf(pem: string): AnyKey | null {
  try {
    return anyKeyFromPem(pem);
  } catch {
    // A change to something that is no key changes nothing.
    return null;
  }
}

/** Counts keys by their material, as TUF's root does. A signature names its key by either id: its own, or TUF's. */
function isSignedByRoot(envelope: Envelope, root: RootMetadata | null): boolean {
  if (root === null) return false;
  const signed = root.roles.root.keyids.flatMap((id) => {
    const hex = root.keys[id]?.keyval.public ?? '';
    const raw = fromHex(hex, 32);
    if (raw === null) return [];
    const key = ed25519Key(raw);
    return isSignedBy(envelope, key) || isSignedBy(envelope, key, id) ? [hex] : [];
  });
  return new Set(signed).size >= root.roles.root.threshold;
}
