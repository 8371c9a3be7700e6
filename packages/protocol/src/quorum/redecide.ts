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
export type LoggedEntry = Pick<LoggedDocument, 'index' | 'payloadType' | 'payload' | 'digest'> & {
  readonly signer: Sha256;
  /** The log that has it. */
  readonly origin: string;
};

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
  const collected = collect(policy, entries, buildId);
  const { claims, votes } = collected;
  const definition: Definition | undefined = claims[0]?.definition;
  if (definition === undefined) return null;
  const always = [...claims.map((claim) => claim.index), ...votes.map((vote) => vote.index)];
  const decide = (opened: OpenedRound | null): Redecided => {
    const used = new Set<number>(always);
    const round = opened === null ? null : runRound(opened, collected, used);
    const alreadyPublic = opened !== null && claims.some((claim) => claim.index < opened.entry.index);
    const decision = decideQuorum({ policy, definition, claims, round, votes, alreadyPublic });
    return { decision, round, used: [...used].sort((a, b) => a - b) };
  };
  const rounds = roundsOf(collected);
  const decided = rounds.length === 0 ? [decide(null)] : rounds.map(decide);
  // Every statement counts in every round as dissent, so what an older round settled still stands by all that is known:
  // a newer round that comes to nothing, or lacks some of those who agreed, takes nothing back.
  const settled = decided.find(({ decision }) => ['agreed', 'resolved', 'rejected'].includes(decision.result));
  return settled ?? decided.find(({ decision }) => decision.result === 'disputed') ?? decided[0] ?? null;
}

interface Collected {
  readonly ordered: readonly LoggedEntry[];
  readonly coordinators: ReadonlySet<string>;
  readonly claims: readonly (Claim & { readonly index: number })[];
  readonly votes: readonly (ArbiterVote & { readonly index: number })[];
  readonly openings: readonly OpenedRound[];
}

function collect(policy: Policy, entries: readonly LoggedEntry[], buildId: string): Collected {
  // Whoever repeats a document, under another signature over the same bytes, says nothing new: the first entry counts.
  const said = new Set<string>();
  const ordered = [...entries]
    .sort((a, b) => a.index - b.index)
    .filter(({ signer, digest }) => {
      const before = said.size;
      return said.add(`${signer} ${digest}`).size > before;
    });
  const builders = new Set<string>(policy.builders.map((one) => one.key.id));
  const coordinators = new Set<string>(policy.coordinators.map((one) => one.key.id));
  const arbiters = new Set<string>(policy.arbiters?.members.map((one) => one.key.id) ?? []);
  const claims: (Claim & { readonly index: number })[] = [];
  const votes: (ArbiterVote & { readonly index: number })[] = [];
  const openings: { opening: Opening; entry: LoggedEntry }[] = [];
  for (const entry of ordered) {
    if (entry.payloadType === IN_TOTO_PAYLOAD && builders.has(entry.signer)) {
      const claim = readClaim(entry.payload, entry.digest, entry.signer);
      if (claim?.buildId === buildId) claims.push({ ...claim, index: entry.index });
    }
    const opening = coordinators.has(entry.signer) ? read(OPENING, entry) : null;
    // A round is one of its log: elsewhere its documents could be put in another order.
    if (opening?.build_id === buildId && opening.log === entry.origin) openings.push({ opening, entry });
    const vote = read(RESOLUTION, entry);
    if (vote?.build_id === buildId && arbiters.has(entry.signer))
      votes.push({ index: entry.index, arbiter: entry.signer, dispute: vote.dispute, accept: vote.accept, reason: vote.reason });
  }
  return { ordered, coordinators, claims, votes, openings };
}

/** The newest round about a build, before anybody has revealed anything; null when none was opened. */
export function roundOf(policy: Policy, entries: readonly LoggedEntry[], buildId: string): Round | null {
  const collected = collect(policy, entries, buildId);
  const [newest] = roundsOf(collected);
  return newest === undefined ? null : runRound(newest, collected, new Set());
}

interface OpenedRound {
  readonly opening: Opening;
  readonly entry: LoggedEntry;
}

/** By falling number; of one number the first that was logged. */
function roundsOf({ openings }: Collected): OpenedRound[] {
  const first = new Map<number, OpenedRound>();
  for (const one of openings) if (!first.has(one.opening.round)) first.set(one.opening.round, one);
  return [...first.values()].sort((a, b) => b.opening.round - a.opening.round);
}

function runRound({ opening, entry }: OpenedRound, { ordered, claims, coordinators }: Collected, used: Set<number>): Round {
  used.add(entry.index);
  // What was public before the round opened reveals nothing in it, whoever logs it again.
  const known = new Set<string>(claims.filter((claim) => claim.index < entry.index).map((claim) => claim.statement));
  let round = openRound(opening, entry.digest, entry.index);
  for (const one of ordered) {
    const event = eventOf(one, claims);
    if (event === null || (event.kind === 'statement' && known.has(event.digest))) continue;
    const counts = event.kind === 'closing' ? coordinators.has(event.signer) : opening.roster.some((member) => member.key === event.signer);
    if (counts && event.kind !== 'statement' && event.document.opening === entry.digest) used.add(one.index);
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
