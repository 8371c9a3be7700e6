/** Everything that a log has about one build: read from the entries and checked against the checkpoint, not asked for. */
import { OUTCOME } from '@lockstep/protocol/commitment/documents';
import { parseLogEntry } from '@lockstep/protocol/log-entry/log-entry';
import { EMPTY_TREE } from '@lockstep/protocol/merkle/growing-tree';
import { CARRIED } from '@lockstep/protocol/release/carried';
import type { PublicKey } from '@lockstep/protocol/key/p256';
import type { LoggedEntry } from '@lockstep/protocol/quorum/redecide';
import { isSignedStatement } from '../key/entry-signature.ts';
import type { LogSource } from '../source/log-source.ts';
import { TILE_WIDTH } from '@lockstep/protocol/merkle/tile';
import { replay } from '../source/replay.ts';
import { readEntries } from '../source/tree-reader.ts';
import type { LogView } from './log-view.ts';
import { resolveStatement } from './make-bundle.ts';
import { buildIdOf } from './monitor.ts';

/** A document of the log with the build that it is about. */
export interface AboutBuild extends LoggedEntry {
  /** '' for one that is about keys. */
  readonly buildId: string;
  readonly signature: Uint8Array;
  readonly key: PublicKey;
}

/**
 * @param buildId null: about any build
 * @throws LockstepError LOG_CORRUPT, LOG_INCONSISTENT. What is opaque is left out: nobody can decide by it
 */
export async function entriesAbout(source: LogSource, view: LogView, buildId: string | null): Promise<AboutBuild[]> {
  const read: { index: number; bytes: Uint8Array }[] = [];
  await replay(source, EMPTY_TREE, view.checkpoint, ({ index, bytes }) => void read.push({ index, bytes }));
  const found: AboutBuild[] = [];
  for (const { index, bytes } of read) {
    const document = await readDocumentAt(source, view.checkpoint.origin, index, bytes);
    if (document !== null && (buildId === null || document.buildId === buildId)) found.push(document);
  }
  return found;
}

/** The same one after the other, so that a log of any size is read in flat memory. @param from index of the first */
export async function* documentsFrom(source: LogSource, view: LogView, from: number): AsyncGenerator<AboutBuild> {
  const { checkpoint } = view;
  // Every entry is hashed against the checkpoint before the first is given out.
  await replay(source, EMPTY_TREE, checkpoint, () => undefined);
  for (let index = Math.floor(from / TILE_WIDTH); index * TILE_WIDTH < checkpoint.size; index++) {
    const width = Math.min(TILE_WIDTH, checkpoint.size - index * TILE_WIDTH);
    const entries = await readEntries(source, { level: 'entries', index, width });
    for (const [at, bytes] of entries.entries()) {
      if (index * TILE_WIDTH + at < from) continue;
      const document = await readDocumentAt(source, checkpoint.origin, index * TILE_WIDTH + at, bytes);
      if (document !== null) yield document;
    }
  }
}

async function readDocumentAt(source: LogSource, origin: string, index: number, bytes: Uint8Array): Promise<AboutBuild | null> {
  let entry: ReturnType<typeof parseLogEntry>;
  try {
    entry = parseLogEntry(bytes);
  } catch {
    // An entry of another kind is about none of our builds.
    return null;
  }
  const statement = await resolveStatement(source, entry);
  if (statement === null) return null;
  const id = buildIdOf(statement.payloadType, statement.payload) ?? (statement.payloadType === CARRIED.payloadType ? '' : null);
  if (id === null || !isSignedStatement(entry.key, statement.signed, entry.signature)) return null;
  const { payloadType, payload } = statement;
  return {
    index,
    origin,
    payloadType,
    payload,
    digest: entry.digest,
    signer: entry.key.id,
    buildId: id,
    signature: entry.signature,
    key: entry.key,
  };
}

/** Entries that were decisions, in the order of the log. */
export function outcomesAmong(entries: readonly AboutBuild[]): AboutBuild[] {
  return entries.filter((entry) => entry.payloadType === OUTCOME.payloadType);
}
