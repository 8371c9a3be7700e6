/**
 * Gives entries their place, for good. One group at a time:
 *   stage the group's files (durable) → sign the new checkpoint → compare-and-swap it in the store of its own →
 *   write the public files → collect cosignatures → publish the checkpoint → answer.
 * Two sequencers that race lose nothing and never fork: whoever swaps first goes on, the other reads what was decided and
 * starts again. A crash anywhere leaves either the old state, or the new one with its staged files to be written again.
 */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type Checkpoint, formatCheckpointText } from '@lockstep/protocol/checkpoint/checkpoint';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { statementPath } from '@lockstep/protocol/log-entry/statement-path';
import { leafHash, type TreeHash } from '@lockstep/protocol/merkle/hash';
import { EMPTY_TREE, growTree, rootOf, type TreeEdge } from '@lockstep/protocol/merkle/growing-tree';
import { formatEntryBundle } from '@lockstep/protocol/merkle/entry-bundle';
import { newTiles, TILE_WIDTH, tilePath } from '@lockstep/protocol/merkle/tile';
import { formatNote } from '@lockstep/protocol/note/note';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { readEntries } from '../source/tree-reader.ts';
import { replay } from '../source/replay.ts';
import { eachAtMost, FILES_AT_ONCE } from '../files/each-at-most.ts';
import type { LogHome } from './log-home.ts';
import { publishCheckpoint, refuseRollBack, seenElsewhere, type WitnessClient } from './publish.ts';
import { formatState, parseState, type SequencedState, STATE_CELL } from './sequenced-state.ts';
import { applyStaged, PREVIOUS, removeDurable, removeFlushed } from './staged-chain.ts';
import type { CheckedSubmission } from './submission.ts';

export interface Sequencer {
  /** Resolves when the checkpoint that covers it is published. @returns its index */
  append(submission: CheckedSubmission): Promise<number>;
  /** The published checkpoint, with every signature. */
  published(): string;
  /** Waits for what is under way. */
  close(): Promise<void>;
}

/** What one fsync carries at most. */
const MAX_GROUP = 4096;
const MAX_GROUP_BYTES = 64 << 20;
/** Answers to a repeated submission without a second entry: the client's answer was lost, not its entry. */
const REMEMBERED = 65_536;
/** Groups after which staged files whose public copies are on the disk are removed. */
const FLUSH_EVERY = 64;
/** A racing sequencer that wins every time is a fault of the set-up. */
const MAX_LOST_RACES = 1000;

interface Waiting {
  readonly submission: CheckedSubmission;
  readonly done: (index: number) => void;
  readonly failed: (error: unknown) => void;
}

/** What a sequencer believes, all of it checked: the cell's text, its checkpoint, the right edge, the last partial bundle. */
interface Known {
  readonly cell: string | null;
  readonly state: SequencedState | null;
  readonly edge: TreeEdge;
  readonly partial: readonly Uint8Array[];
}

/** @throws LockstepError LOG_CORRUPT, LOG_INCONSISTENT, LOG_ROLLED_BACK, WITNESSES_MISSING */
export async function openSequencer(home: LogHome, witnesses: WitnessClient | null): Promise<Sequencer> {
  try {
    return await open(home, witnesses);
  } catch (error) {
    throw storageError(error);
  }
}

async function open(home: LogHome, witnesses: WitnessClient | null): Promise<Sequencer> {
  const remembered = new Map<string, number>();
  const remember = (hash: TreeHash, index: number): void => {
    remembered.set(keyOf(hash), index);
    if (remembered.size > REMEMBERED) for (const oldest of remembered.keys()) return void remembered.delete(oldest);
  };
  // Asked before the own state is read: another sequencer may go on meanwhile, and what it publishes it has decided before.
  const seen = await seenElsewhere(home, witnesses);
  let known = await load(home, { cell: null, state: null, edge: EMPTY_TREE, partial: [] }, remember);
  await refuseRollBack(home, known.state?.checkpoint ?? emptyCheckpoint(home), seen);
  let published = await publish(home, known, witnesses);
  let groups = 0;
  const waiting: Waiting[] = [];
  let running: Promise<void> | null = null;

  const run = async (): Promise<void> => {
    while (waiting.length > 0) {
      const group = takeGroup(waiting);
      try {
        const sequenced = await sequence(
          home,
          known,
          new Map(group.map(({ submission }) => [entryKey(submission), submission])),
          remembered,
          remember,
        );
        known = sequenced.known;
        published = await publish(home, known, witnesses);
        if (++groups % FLUSH_EVERY === 0 && known.state !== null) await removeFlushed(home, known.state.staged);
        for (const { submission, done, failed } of group) {
          const index = sequenced.indexes.get(entryKey(submission));
          if (index === undefined) failed(new TypeError('an entry was sequenced and has no index'));
          else done(index);
        }
      } catch (error) {
        for (const { failed } of group) failed(storageError(error));
        // What was kept may have moved on or not: read it again before anything else is signed.
        known = await load(home, known, remember).catch((again: unknown) => {
          for (const { failed } of waiting.splice(0)) failed(storageError(again));
          throw again;
        });
      }
    }
  };
  /** `running` is cleared in the same turn in which the queue was found empty, so that nobody waits for a run that is over. */
  const start = async (): Promise<void> => {
    do {
      await new Promise((resolve) => setImmediate(resolve));
      try {
        await run();
      } catch {
        // Whoever waited was told; who has come since is served in the next turn.
      }
    } while (waiting.length > 0);
    running = null;
  };
  const idle = async (): Promise<void> => {
    if (running === null) return;
    await running;
    await idle();
  };
  return {
    append: (submission) =>
      new Promise((done, failed) => {
        waiting.push({ submission, done, failed });
        running ??= start();
      }),
    published: () => published,
    async close() {
      await idle();
      if (known.state !== null) await removeFlushed(home, known.state.staged);
    },
  };
}

function keyOf(hash: TreeHash): string {
  return Buffer.from(hash).toString('base64');
}

function entryKey(submission: CheckedSubmission): string {
  return keyOf(leafHash(submission.entry));
}

/** A full or broken disk is no fault of this program. */
function storageError(error: unknown): unknown {
  if (!(error instanceof Error && 'code' in error && typeof error.code === 'string' && /^E[A-Z]+$/.test(error.code))) return error;
  return new LockstepError(
    'STORE_UNUSABLE',
    `The log could not be read or written: ${error.message}`,
    'Make room or mend the disk, then append again: what was acknowledged is kept, and a repeated document gets the same answer.',
  );
}

function emptyCheckpoint(home: LogHome): Checkpoint {
  return { origin: home.origin, size: 0, root: rootOf(EMPTY_TREE), extensions: [] };
}

function takeGroup(waiting: Waiting[]): Waiting[] {
  let bytes = 0;
  let count = 0;
  while (count < waiting.length && count < MAX_GROUP && (count === 0 || bytes < MAX_GROUP_BYTES))
    bytes += waiting[count++]?.submission.statement.length ?? 0;
  return waiting.splice(0, count);
}

/** Reads what was decided, writes the public files that it implies, and replays from where `from` stood. */
async function load(home: LogHome, from: Known, remember: (hash: TreeHash, index: number) => void): Promise<Known> {
  const cell = await home.cells.get(STATE_CELL);
  if (cell === null) {
    if (from.state !== null || (await home.files.read('checkpoint')) !== null)
      throw new LockstepError(
        'LOG_ROLLED_BACK',
        'The store that keeps the last checkpoint has lost it',
        'Restore the cells from a backup that is as new as what was published. Starting without would fork the log.',
      );
    return { cell, state: null, edge: EMPTY_TREE, partial: [] };
  }
  const state = parseState(cell, home.key);
  if (from.edge.size > state.checkpoint.size)
    throw new LockstepError('LOG_ROLLED_BACK', 'The kept checkpoint went back while this process ran', 'Find out who restored the store.');
  await applyStaged(home, state.staged, from.state?.staged ?? null);
  let read: { hash: TreeHash; index: number }[] = [];
  const edge = await replay(home.source, from.edge, state.checkpoint, ({ index, hash }) => {
    read.push({ hash, index });
    if (read.length > 2 * REMEMBERED) read = read.slice(-REMEMBERED);
  });
  const width = edge.size % TILE_WIDTH;
  const partial = width === 0 ? [] : await readEntries(home.source, { level: 'entries', index: Math.floor(edge.size / TILE_WIDTH), width });
  // Only now are they known to be in the tree, and this process to stand where it covers them.
  for (const { hash, index } of read) remember(hash, index);
  return { cell, state, edge, partial };
}

async function sequence(
  home: LogHome,
  start: Known,
  group: ReadonlyMap<string, CheckedSubmission>,
  remembered: ReadonlyMap<string, number>,
  remember: (hash: TreeHash, index: number) => void,
): Promise<{ known: Known; indexes: ReadonlyMap<string, number> }> {
  let known = start;
  // Taken down at once: what is added can push out what was remembered longest.
  const indexes = new Map<string, number>();
  for (let lost = 0; lost < MAX_LOST_RACES; lost++) {
    for (const key of group.keys()) {
      const index = remembered.get(key);
      if (index !== undefined) indexes.set(key, index);
    }
    // Remembered by a recovery that came to nothing in the end: what is published next has to cover it.
    if (Math.max(-1, ...indexes.values()) >= known.edge.size) {
      known = await load(home, known, remember);
      continue;
    }
    const added = [...group].filter(([key]) => !indexes.has(key)).map(([, submission]) => submission);
    if (added.length === 0) return { known, indexes };
    const next = await commit(home, known, added);
    if (next !== null) {
      for (const [offset, submission] of added.entries()) {
        indexes.set(entryKey(submission), known.edge.size + offset);
        remember(leafHash(submission.entry), known.edge.size + offset);
      }
      return { known: next, indexes };
    }
    known = await load(home, known, remember);
  }
  throw new LockstepError('LOG_BUSY', 'Another sequencer was faster every time', 'Run one sequencer for a log.');
}

/** null when another sequencer was faster: then nothing of this was decided. */
async function commit(home: LogHome, known: Known, added: readonly CheckedSubmission[]): Promise<Known | null> {
  const { edge, tiles } = growTree(
    known.edge,
    added.map(({ entry }) => leafHash(entry)),
  );
  const entries = [...known.partial, ...added.map(({ entry }) => entry)];
  const first = known.edge.size - known.partial.length;
  const files = new Map<string, Uint8Array>();
  if (known.state !== null) files.set(PREVIOUS, toUtf8(known.state.staged));
  for (const { digest, statement } of added) files.set(statementPath(digest), statement);
  for (const tile of newTiles(known.edge.size, edge.size)) {
    if (tile.level !== 'entries') continue;
    const from = tile.index * TILE_WIDTH - first;
    files.set(tilePath(tile), formatEntryBundle(entries.slice(from, from + tile.width)));
  }
  for (const [path, bytes] of tiles) files.set(path, bytes);
  const staged: Sha256 = await home.staging.put(files);
  const checkpoint: Checkpoint = { origin: home.origin, size: edge.size, root: rootOf(edge), extensions: [] };
  const note = signCheckpoint(home, checkpoint);
  const cell = formatState(note, staged);
  // What was staged in vain stays: another sequencer with the same documents has the same group, and may be about to decide it.
  if (!(await swapKnowingly(home, known.cell, cell))) return null;
  files.delete(PREVIOUS);
  await Promise.all([
    eachAtMost(FILES_AT_ONCE, files, ([path, bytes]) => home.files.write(path, bytes)),
    removeDurable(home, known.state?.staged ?? null),
  ]);
  return {
    cell,
    state: { checkpoint, note, staged },
    edge,
    partial: entries.slice(Math.floor(edge.size / TILE_WIDTH) * TILE_WIDTH - first),
  };
}

/**
 * A store may fail after it has done what it was asked: then what it holds says what happened. Signatures are
 * deterministic, so another sequencer may have decided the very same.
 */
async function swapKnowingly(home: LogHome, expected: string | null, next: string): Promise<boolean> {
  try {
    return (await home.cells.swap(STATE_CELL, expected, next)) || (await home.cells.get(STATE_CELL)) === next;
  } catch (error) {
    if ((await home.cells.get(STATE_CELL)) === next) return true;
    throw error;
  }
}

function signCheckpoint(home: LogHome, checkpoint: Checkpoint): string {
  const text = formatCheckpointText(checkpoint);
  return formatNote({ text, signatures: [{ name: home.key.name, keyId: home.key.keyId, signature: home.signer.sign(toUtf8(text)) }] });
}

async function publish(home: LogHome, known: Known, witnesses: WitnessClient | null): Promise<string> {
  return known.state === null ? '' : publishCheckpoint(home, known.state, witnesses);
}
