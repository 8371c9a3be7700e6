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

/** @throws LockstepError WITNESSES_MISSING */
export async function publishCheckpoint(home: LogHome, state: SequencedState, client: WitnessClient | null): Promise<string> {
  const present = await publishedNote(home);
  if (present !== null && present.note.size >= state.checkpoint.size) return present.text;
  const note = await cosigned(home, state, client);
  const replaced = await home.files.replaceIf('checkpoint', toUtf8(note), (bytes) => {
    const there = bytes === null ? null : openNote(home, bytes);
    return there === null || there.checkpoint.size < state.checkpoint.size;
  });
  if (replaced) return note;
  return (await publishedNote(home))?.text ?? note;
}

async function publishedNote(home: LogHome): Promise<{ note: Checkpoint; text: string } | null> {
  const bytes = await home.files.read('checkpoint');
  return bytes === null ? null : { note: openNote(home, bytes).checkpoint, text: fromUtf8(bytes) ?? '' };
}

/** @throws LockstepError LOG_CORRUPT */
function openNote(home: LogHome, bytes: Uint8Array): OpenedCheckpoint {
  try {
    return openLogCheckpoint(bytes, home.key, home.witnesses?.witnesses.map((one) => one.key) ?? []);
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
  const seen = new Set(policy.witnesses.filter((one) => opened.signedBy.some(({ key }) => key === one.key)).map((one) => one.name));
  if (quorumIsMet(policy, seen)) return;
  const why = answers.filter((one) => one.error !== null).map((one) => `${one.name}: ${one.error}`);
  throw new LockstepError(
    'WITNESSES_MISSING',
    `Too few witnesses have cosigned (${[...seen].join(', ') || 'none'}), so the checkpoint is not published${why.length === 0 ? '' : `; ${why.join('; ')}`}`,
    'The entries keep their place. Bring the witnesses back and append again: the same documents get the same answer.',
  );
}

/**
 * Before a log signs again it asks who may have seen more than it has: a log restored from a backup would fork.
 * @throws LockstepError LOG_ROLLED_BACK, WITNESSES_MISSING when too few can be asked
 */
export async function refuseRollBack(home: LogHome, kept: Checkpoint, client: WitnessClient | null): Promise<void> {
  const published = await publishedNote(home);
  if (published !== null) requireNotBehind(kept, published.note, 'the published checkpoint');
  const policy = home.witnesses;
  if (policy === null || policy.quorum === 'none' || client === null) return;
  const asked = await client.latest();
  const reached = new Set(asked.filter((one) => !(one.note instanceof LockstepError)).map((one) => one.name));
  if (!quorumIsMet(policy, reached))
    throw new LockstepError(
      'WITNESSES_MISSING',
      `Too few witnesses can be asked what they have seen: ${asked.flatMap((one) => (one.note instanceof LockstepError ? [`${one.name}: ${one.note.message}`] : [])).join('; ')}`,
      'Bring them back. Until then nothing is signed, since nobody could publish it.',
    );
  for (const { name, note } of asked) {
    if (note === null || note instanceof LockstepError) continue;
    const opened = openLogCheckpoint(
      note,
      home.key,
      policy.witnesses.map((one) => one.key),
    );
    requireNotBehind(kept, opened.checkpoint, `the witness ${name}`);
    if (opened.checkpoint.size > 0) await requireConsistent(home.source, opened.checkpoint, kept);
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
