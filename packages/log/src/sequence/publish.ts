/** Publishes a checkpoint: with the cosignatures that the log's witness policy asks for, or not at all; never an older one. */
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import type { Checkpoint } from '@lockstep/protocol/checkpoint/checkpoint';
import { type OpenedCheckpoint, openLogCheckpoint } from '@lockstep/protocol/checkpoint/open';
import { quorumIsMet, type WitnessPolicy } from '@lockstep/protocol/checkpoint/witness-policy';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { sameHash } from '@lockstep/protocol/merkle/hash';
import { formatNote, type NoteSignature } from '@lockstep/protocol/note/note';
import { fromUtf8 } from '@lockstep/protocol/bytes/utf8';
import { requireConsistent } from '../source/tree-reader.ts';
import type { LogHome } from './log-home.ts';
import type { SequencedState } from './sequenced-state.ts';

/** How a log asks its witnesses. Tests hand in one without a network. */
export interface WitnessClient {
  /** @returns the names of those who answered, with the cosignature lines of each, and why the others gave none */
  cosign(note: string, checkpoint: Checkpoint): Promise<readonly WitnessAnswer[]>;
  /** The newest checkpoint of this log that each has cosigned: null for none, an error for no answer. */
  latest(): Promise<readonly { readonly name: string; readonly note: string | null | LockstepError }[]>;
}

export interface WitnessAnswer {
  readonly name: string;
  readonly signatures: readonly NoteSignature[];
  readonly error: string | null;
}

/** The last that was published, and the next. */
const REMEMBERED_NOTES = 4;

/** @throws LockstepError WITNESSES_MISSING */
export async function publishCheckpoint(home: LogHome, state: SequencedState, client: WitnessClient | null): Promise<string> {
  const present = await publishedEnough(home, state);
  if (present !== null) return present;
  let note: string;
  try {
    note = await cosigned(home, state, client);
  } catch (error) {
    // Witnesses that have cosigned another sequencer's larger tree cosign no smaller one; then that covers these entries too.
    const meanwhile = await publishedEnough(home, state);
    if (meanwhile !== null) return meanwhile;
    throw error;
  }
  const replaced = await home.files.replaceIf(
    'checkpoint',
    toUtf8(note),
    (bytes) => bytes === null || !isEnough(home, openNote(home, bytes), state),
  );
  return replaced ? note : ((await publishedEnough(home, state)) ?? note);
}

/** The published checkpoint if it covers `state` and has the witnesses that are asked for. */
async function publishedEnough(home: LogHome, state: SequencedState): Promise<string | null> {
  const bytes = await home.files.read('checkpoint');
  return bytes !== null && isEnough(home, openNote(home, bytes), state) ? fromUtf8(bytes) : null;
}

function isEnough(home: LogHome, opened: OpenedCheckpoint, state: SequencedState): boolean {
  const { size, root } = opened.checkpoint;
  if (size === state.checkpoint.size && !sameHash(root, state.checkpoint.root))
    throw new LockstepError(
      'LOG_ROLLED_BACK',
      `The published checkpoint of size ${size} has another root than the one that is kept`,
      'The log was forked or rewritten. Keep both, and find out which store was restored.',
    );
  // A larger one is never replaced; whether it is witnessed was for whoever published it.
  return size > state.checkpoint.size || (size === state.checkpoint.size && hasWitnesses(home, opened));
}

function hasWitnesses(home: LogHome, opened: OpenedCheckpoint): boolean {
  return home.witnesses === null || quorumIsMet(home.witnesses, witnessesOf(home.witnesses, opened));
}

function witnessesOf(policy: WitnessPolicy, opened: OpenedCheckpoint): Set<string> {
  return new Set(policy.witnesses.filter((one) => opened.signedBy.some(({ key }) => key === one.key)).map((one) => one.name));
}

/** @throws LockstepError LOG_CORRUPT */
function openNote(home: LogHome, bytes: Uint8Array): OpenedCheckpoint {
  // The same note is looked at before and after it is published; its signatures are checked once.
  const text = Buffer.from(bytes).toString('latin1');
  const known = home.opened.get(text);
  if (known !== undefined) return known;
  try {
    const opened = openLogCheckpoint(bytes, home.key, home.witnesses?.witnesses.map((one) => one.key) ?? []);
    if (home.opened.size >= REMEMBERED_NOTES) home.opened.clear();
    home.opened.set(text, opened);
    return opened;
  } catch (error) {
    throw new LockstepError(
      'LOG_CORRUPT',
      `The published checkpoint is damaged: ${error instanceof Error ? error.message : String(error)}`,
      'Remove the file public/checkpoint: it is written again from what was kept.',
    );
  }
}

async function cosigned(home: LogHome, state: SequencedState, client: WitnessClient | null): Promise<string> {
  const policy = home.witnesses;
  if (policy === null || policy.quorum === 'none') return state.note;
  const answers = (await client?.cosign(state.note, state.checkpoint)) ?? [];
  const own = openLogCheckpoint(state.note, home.key).note;
  const collected = formatNote({ text: own.text, signatures: [...own.signatures, ...answers.flatMap((answer) => answer.signatures)] });
  requireWitnesses(policy, openNote(home, toUtf8(collected)), answers);
  return collected;
}

/** Fail closed: what too few have seen is not published. @throws LockstepError WITNESSES_MISSING */
function requireWitnesses(policy: WitnessPolicy, opened: OpenedCheckpoint, answers: readonly WitnessAnswer[]): void {
  const seen = witnessesOf(policy, opened);
  if (quorumIsMet(policy, seen)) return;
  const why = answers.filter((one) => one.error !== null).map((one) => `${one.name}: ${one.error}`);
  throw new LockstepError(
    'WITNESSES_MISSING',
    `Too few witnesses have cosigned (${[...seen].join(', ') || 'none'}), so the checkpoint is not published${why.length === 0 ? '' : `; ${why.join('; ')}`}`,
    'The entries keep their place. Bring the witnesses back and append again: the same documents get the same answer.',
  );
}

export interface SeenCheckpoint {
  readonly by: string;
  readonly checkpoint: Checkpoint;
}

/**
 * What others have of this log: the published checkpoint, and the newest that each witness has cosigned.
 * @throws LockstepError WITNESSES_MISSING when too few can be asked
 */
export async function seenElsewhere(home: LogHome, client: WitnessClient | null): Promise<SeenCheckpoint[]> {
  const bytes = await home.files.read('checkpoint');
  const published = bytes === null ? [] : [{ by: 'the published checkpoint', checkpoint: openNote(home, bytes).checkpoint }];
  const policy = home.witnesses;
  if (policy === null || policy.quorum === 'none' || client === null) return published;
  const asked = (await client.latest()).map(({ name, note }) => ({
    name,
    seen: typeof note === 'string' ? openSeen(home, policy, note) : note,
  }));
  const reached = new Set(asked.filter((one) => !(one.seen instanceof LockstepError)).map((one) => one.name));
  if (!quorumIsMet(policy, reached))
    throw new LockstepError(
      'WITNESSES_MISSING',
      `Too few witnesses can be asked what they have seen: ${asked.flatMap((one) => (one.seen instanceof LockstepError ? [`${one.name}: ${one.seen.message}`] : [])).join('; ')}`,
      'Bring them back. Until then nothing is signed, since nobody could publish it.',
    );
  return [
    ...published,
    ...asked.flatMap(({ name, seen }) =>
      seen === null || seen instanceof LockstepError ? [] : [{ by: `the witness ${name}`, checkpoint: seen }],
    ),
  ];
}

/** A log that was restored from a backup, or rewritten, would fork if it signed again. @throws LockstepError LOG_ROLLED_BACK, LOG_INCONSISTENT */
export async function refuseRollBack(home: LogHome, kept: Checkpoint, seen: readonly SeenCheckpoint[]): Promise<void> {
  for (const { by, checkpoint } of seen) {
    requireNotBehind(kept, checkpoint, by);
    if (checkpoint.size > 0) await requireConsistent(home.source, checkpoint, kept);
  }
}

/** Nonsense from one witness counts as no answer of that one. */
function openSeen(home: LogHome, policy: WitnessPolicy, note: string): Checkpoint | LockstepError {
  try {
    return openLogCheckpoint(
      note,
      home.key,
      policy.witnesses.map((one) => one.key),
    ).checkpoint;
  } catch (error) {
    if (error instanceof LockstepError) return error;
    throw error;
  }
}

function requireNotBehind(kept: Checkpoint, seen: Checkpoint, by: string): void {
  if (seen.size < kept.size || (seen.size === kept.size && sameHash(seen.root, kept.root))) return;
  throw new LockstepError(
    'LOG_ROLLED_BACK',
    `This log has ${kept.size} entries; ${by} has seen ${seen.size}${seen.size === kept.size ? ', with another root' : ''}`,
    'The log was restored from a backup, or rewritten. Get the missing files from a mirror; signing now would fork the log.',
  );
}
