/**
 * A round as a state machine over log entries in their order: who has committed in time, who has opened what. Pure: the
 * log's order is the only clock, so everybody who has the log comes to the same end.
 *
 *   opening → commitments → (all have committed, or a coordinator closes) → reveals
 *
 * Only commitments that stand before the first reveal count.
 */
import type { Sha256 } from '../digest/digest.ts';
import { commitmentOf } from './commit.ts';
import type { Closing, Commitment, Opening, Reveal } from './documents.ts';

/** One entry of the log that may belong to the round, in the order of the log. */
export type RoundEvent =
  | { readonly kind: 'commitment'; readonly index: number; readonly signer: Sha256; readonly document: Commitment }
  | { readonly kind: 'closing'; readonly index: number; readonly signer: Sha256; readonly document: Closing }
  | { readonly kind: 'reveal'; readonly index: number; readonly signer: Sha256; readonly document: Reveal }
  /** A statement about the definition by a builder of the policy: publishing it reveals it, whatever else was said. */
  | { readonly kind: 'statement'; readonly index: number; readonly signer: Sha256; readonly digest: Sha256 };

export interface Participant {
  readonly builder: string;
  readonly key: Sha256;
  readonly state: 'waiting' | 'committed' | 'revealed' | 'out';
  /** Index of its commitment. */
  readonly committedAt: number | null;
  readonly commitment: Sha256 | null;
  /** The statement that it has opened its commitment to. */
  readonly statement: Sha256 | null;
  /** Why it is out. */
  readonly reason: string | null;
}

export interface Round {
  readonly opening: Opening;
  readonly digest: Sha256;
  readonly openedAt: number;
  readonly phase: 'committing' | 'revealing';
  /** Index of what ended the time for commitments. */
  readonly closedAt: number | null;
  readonly participants: readonly Participant[];
}

export function openRound(opening: Opening, digest: Sha256, index: number): Round {
  return {
    opening,
    digest,
    openedAt: index,
    phase: 'committing',
    closedAt: null,
    participants: opening.roster.map(({ builder, key }) => ({
      builder,
      key: key as Sha256,
      state: 'waiting',
      committedAt: null,
      commitment: null,
      statement: null,
      reason: null,
    })),
  };
}

/** @param coordinators ids of the keys that may close a round */
export function advance(round: Round, event: RoundEvent, coordinators: ReadonlySet<string>): Round {
  if (event.index <= round.openedAt) return round;
  if (event.kind !== 'statement' && !belongs(round, event.document)) return round;
  if (event.kind === 'closing') return coordinators.has(event.signer) ? close(round, event.index) : round;
  const participant = round.participants.find((one) => one.key === event.signer);
  // Whoever of the policy's builders makes a result public, on the roster or not: who commits after it may have copied.
  if (participant === undefined) return event.kind === 'statement' ? close(round, event.index) : round;
  if (event.kind === 'commitment') return commit(round, participant, event.document, event.index);
  if (event.kind === 'reveal') return reveal(round, participant, event.document, event.index);
  return publish(round, participant, event.index);
}

function belongs(round: Round, document: { readonly build_id: string; readonly round: number; readonly opening: string }): boolean {
  return document.opening === round.digest && document.build_id === round.opening.build_id && document.round === round.opening.round;
}

function commit(round: Round, who: Participant, document: Commitment, index: number): Round {
  const value = document.commitment as Sha256;
  // After its reveal a commitment says nothing any more, and takes nothing back.
  if (who.state === 'out' || who.statement !== null || who.commitment === value) return round;
  if (who.commitment !== null) return put(round, who, { state: 'out', reason: `it committed twice, at ${who.committedAt} and ${index}` });
  if (round.phase === 'revealing') return put(round, who, { state: 'out', reason: 'it committed after the first reveal or the closing' });
  const next = put(round, who, { state: 'committed', commitment: value, committedAt: index });
  return next.participants.every((one) => one.state !== 'waiting') ? close(next, index) : next;
}

function reveal(round: Round, who: Participant, document: Reveal, index: number): Round {
  if (round.phase === 'committing') return tooEarly(round, who, index);
  if (who.state === 'out' || who.statement !== null) return round;
  if (who.commitment === null) return put(round, who, { state: 'out', reason: 'it revealed without a commitment' });
  const opened = commitmentOf({ opening: round.digest, key: who.key, salt: document.salt, statement: document.statement as Sha256 });
  if (opened !== who.commitment) return put(round, who, { state: 'out', reason: 'what it revealed does not open its commitment' });
  return put(round, who, { state: 'revealed', statement: document.statement as Sha256 });
}

/** A statement that is public before the time is a reveal: whoever commits after it may have copied it. */
function publish(round: Round, who: Participant, index: number): Round {
  return round.phase === 'committing' ? tooEarly(round, who, index) : round;
}

function tooEarly(round: Round, who: Participant, index: number): Round {
  return close(put(round, who, { state: 'out', reason: `it revealed at ${index}, before the time for commitments was over` }), index);
}

function close(round: Round, index: number): Round {
  return round.phase === 'revealing' ? round : { ...round, phase: 'revealing', closedAt: index };
}

function put(round: Round, who: Participant, change: Partial<Participant>): Round {
  return { ...round, participants: round.participants.map((one) => (one === who ? { ...one, ...change } : one)) };
}
