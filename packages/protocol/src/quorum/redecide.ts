/**
 * From logged documents to the decision: what a farm's quorum does, and what every observer can do again. The order in
 * the log is the only order, so the result is the same to the letter.
 */
import type { LoggedDocument } from '../bundle/open-bundle.ts';
import { CLOSING, COMMITMENT, OPENING, RESOLUTION, REVEAL, type Opening } from '../commitment/documents.ts';
import { advance, openRound, type Round, type RoundEvent } from '../commitment/round.ts';
import type { Definition } from '../definition/definition.ts';
import type { Sha256 } from '../digest/digest.ts';
import { type DocumentKind, readDocument } from '../dsse/document.ts';
import { IN_TOTO_PAYLOAD } from '../dsse/envelope.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import type { Policy } from '../policy/policy.ts';
import { type Claim, readClaim } from './claim.ts';
import { type ArbiterVote, decideQuorum } from './decide.ts';
import type { Decision } from './decision.ts';

/** One entry of one log, its signature checked. */
export type LoggedEntry = Pick<LoggedDocument, 'index' | 'payloadType' | 'payload' | 'digest'> & { readonly signer: Sha256 };

export interface Redecided {
  readonly decision: Decision;
  readonly round: Round | null;
  /** Indexes of the entries that it was made of. */
  readonly used: readonly number[];
}

/**
 * @param entries of one log, in any order
 * @returns null when no statement about this build id is among them, so that nothing is known of its definition
 */
export function redecide(policy: Policy, entries: readonly LoggedEntry[], buildId: string): Redecided | null {
  const { ordered, coordinators, claims, votes, openings } = collect(policy, entries, buildId);
  const definition: Definition | undefined = claims[0]?.definition;
  if (definition === undefined) return null;
  const used = new Set<number>([...claims.map((claim) => claim.index), ...votes.map((vote) => vote.index)]);
  const last = lastRound(openings);
  const round = last === null ? null : runRound(last, ordered, claims, coordinators, used);
  return { decision: decideQuorum({ policy, definition, claims, round, votes }), round, used: [...used].sort((a, b) => a - b) };
}

interface Collected {
  readonly ordered: readonly LoggedEntry[];
  readonly coordinators: ReadonlySet<string>;
  readonly claims: readonly (Claim & { readonly index: number })[];
  readonly votes: readonly (ArbiterVote & { readonly index: number })[];
  readonly openings: readonly { readonly opening: Opening; readonly entry: LoggedEntry }[];
}

function collect(policy: Policy, entries: readonly LoggedEntry[], buildId: string): Collected {
  const ordered = [...entries].sort((a, b) => a.index - b.index);
  const builders = new Set<string>(policy.builders.map((one) => one.key.id));
  const coordinators = new Set<string>(policy.coordinators.map((one) => one.key.id));
  const claims: (Claim & { readonly index: number })[] = [];
  const votes: (ArbiterVote & { readonly index: number })[] = [];
  const openings: { opening: Opening; entry: LoggedEntry }[] = [];
  for (const entry of ordered) {
    if (entry.payloadType === IN_TOTO_PAYLOAD && builders.has(entry.signer)) {
      const claim = readClaim(entry.payload, entry.digest, entry.signer);
      if (claim?.buildId === buildId) claims.push({ ...claim, index: entry.index });
    }
    const opening = coordinators.has(entry.signer) ? read(OPENING, entry) : null;
    if (opening?.build_id === buildId && opening.policy.sha256 === policy.sha256) openings.push({ opening, entry });
    const vote = read(RESOLUTION, entry);
    if (vote?.build_id === buildId)
      votes.push({ index: entry.index, arbiter: entry.signer, dispute: vote.dispute, accept: vote.accept, reason: vote.reason });
  }
  return { ordered, coordinators, claims, votes, openings };
}

/** The newest round about a build, before anybody has revealed anything; null when none was opened. */
export function roundOf(policy: Policy, entries: readonly LoggedEntry[], buildId: string): Round | null {
  const collected = collect(policy, entries, buildId);
  const last = lastRound(collected.openings);
  return last === null ? null : runRound(last, collected.ordered, collected.claims, collected.coordinators, new Set());
}

/** The round with the highest number; of one number the first that was logged. */
function lastRound(openings: readonly { opening: Opening; entry: LoggedEntry }[]): { opening: Opening; entry: LoggedEntry } | null {
  let last: { opening: Opening; entry: LoggedEntry } | null = null;
  for (const one of openings) if (last === null || one.opening.round > last.opening.round) last = one;
  return last;
}

function runRound(
  { opening, entry }: { opening: Opening; entry: LoggedEntry },
  ordered: readonly LoggedEntry[],
  claims: readonly (Claim & { readonly index: number })[],
  coordinators: ReadonlySet<string>,
  used: Set<number>,
): Round {
  used.add(entry.index);
  let round = openRound(opening, entry.digest, entry.index);
  for (const one of ordered) {
    const event = eventOf(one, claims);
    if (event === null) continue;
    if (event.kind !== 'statement' && event.document.opening === entry.digest) used.add(one.index);
    round = advance(round, event, coordinators);
  }
  return round;
}

function eventOf(entry: LoggedEntry, claims: readonly (Claim & { readonly index: number })[]): RoundEvent | null {
  const { index, signer, digest } = entry;
  if (claims.some((claim) => claim.index === index)) return { kind: 'statement', index, signer, digest };
  const commitment = read(COMMITMENT, entry);
  if (commitment !== null) return { kind: 'commitment', index, signer, document: commitment };
  const closing = read(CLOSING, entry);
  if (closing !== null) return { kind: 'closing', index, signer, document: closing };
  const reveal = read(REVEAL, entry);
  return reveal === null ? null : { kind: 'reveal', index, signer, document: reveal };
}

/** A broken document is none: anybody can have one logged, and it may not stop a decision. */
function read<T>(kind: DocumentKind<T>, entry: LoggedEntry): T | null {
  try {
    return readDocument(kind, entry.payloadType, entry.payload);
  } catch (error) {
    if (error instanceof LockstepError) return null;
    throw error;
  }
}
