/**
 * The only place where nonces are (spec/frost.md "Nonces"): in memory, for one session, for 120 seconds, to be taken out
 * once. Two shares with one nonce give the holder's secret away, so that nothing here can be read twice or written down.
 */
import type { Nonces } from '@noble/curves/abstract/frost.js';
import type { Sha256 } from '@lockstep/protocol/digest/digest';

export interface OpenSession {
  readonly signers: readonly string[];
  /** The key id of the coordinator that opened it: no other may close it. */
  readonly coordinator: string;
  readonly messages: readonly Uint8Array[];
  /** One for each message. */
  readonly nonces: readonly Nonces[];
  /** Of the check that these messages come from. */
  readonly written: (() => Promise<void>) | null;
  /** The digest of the commitments as this holder said them. */
  readonly committed: Sha256;
}

export interface NonceMemory {
  /** Keeps a place while the request is checked. "known": it is open, or was not long ago. */
  reserve(id: Sha256): 'reserved' | 'known' | 'full';
  /** false when the place was given up in between: then nothing is kept, and the nonces are gone. */
  keep(id: Sha256, session: OpenSession): boolean;
  isKept(id: Sha256): boolean;
  /** Out of memory for good; null when it is not open, too old, or another coordinator's. */
  take(id: Sha256, coordinator: string): OpenSession | null;
  /** Gives up a place, or a session. */
  drop(id: Sha256): void;
  /** Gives everything up. */
  clear(): void;
}

/** Coordinators are few, and a session of a release takes seconds. */
const MAX_SESSIONS = 16;
/** From the commitment to the share: one round trip to the slowest other. */
export const SESSION_MILLISECONDS = 120_000;
/** A check may ask a person, who may be at lunch. */
const CHECK_MILLISECONDS = 3_600_000;
/** Ids of sessions that ended, so that a repeated opening is told as one. More is not needed: new nonces would be made for it. */
const MAX_ENDED = 1024;

/** @param now milliseconds */
export function nonceMemory(now: () => number): NonceMemory {
  const open = new Map<Sha256, { readonly since: number; readonly session: OpenSession | null }>();
  const ended = new Set<Sha256>();
  const end = (id: Sha256): void => {
    open.delete(id);
    ended.add(id);
    for (const oldest of ended) if (ended.size > MAX_ENDED) ended.delete(oldest);
  };
  const drop = (id: Sha256): void => {
    const session = open.get(id)?.session ?? null;
    if (session !== null) wipe(session);
    end(id);
  };
  const expire = (): void => {
    for (const [id, { since, session }] of open) {
      const age = now() - since;
      // A clock that was put back says nothing about the age.
      if (age >= 0 && age < (session === null ? CHECK_MILLISECONDS : SESSION_MILLISECONDS)) continue;
      drop(id);
    }
  };
  return {
    reserve: (id) => {
      expire();
      if (open.has(id) || ended.has(id)) return 'known';
      if (open.size >= MAX_SESSIONS) return 'full';
      open.set(id, { since: now(), session: null });
      return 'reserved';
    },
    keep: (id, session) => {
      expire();
      const place = open.get(id);
      if (place === undefined || place.session !== null) {
        wipe(session);
        return false;
      }
      open.set(id, { since: now(), session });
      return true;
    },
    isKept: (id) => (open.get(id)?.session ?? null) !== null,
    take: (id, coordinator) => {
      expire();
      const session = open.get(id)?.session ?? null;
      if (session?.coordinator !== coordinator) return null;
      end(id);
      return session;
    },
    drop,
    clear: () => {
      for (const id of [...open.keys()]) drop(id);
    },
  };
}

export function wipe({ nonces }: Pick<OpenSession, 'nonces'>): void {
  for (const one of nonces) {
    one.hiding.fill(0);
    one.binding.fill(0);
  }
}
