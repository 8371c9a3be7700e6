/** Copies a log's public files, verified on the way, so that anyone can serve, monitor and decide from them without an account. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { openLogCheckpoint } from '@lockstep/protocol/checkpoint/open';
import { parseLogEntry } from '@lockstep/protocol/log-entry/log-entry';
import { statementPath } from '@lockstep/protocol/log-entry/statement-path';
import { EMPTY_TREE, rootOf } from '@lockstep/protocol/merkle/growing-tree';
import { hashesAtLevel, newTiles, TILE_WIDTH, tilePath } from '@lockstep/protocol/merkle/tile';
import type { VerifierKey } from '@lockstep/protocol/note/verifier-key';
import { createDurably, writeDurably } from '@lockstep/store/durable';
import { folderSource, type LogSource, MAX_BUNDLE_BYTES, MAX_TILE_BYTES } from '../source/log-source.ts';
import { replay } from '../source/replay.ts';
import { requireConsistent } from '../source/tree-reader.ts';
import { viewLog } from './log-view.ts';
import { readStatement } from './make-bundle.ts';
import { sha256Hex } from '@lockstep/protocol/digest/digest';

export interface MirrorReport {
  readonly from: number;
  readonly to: number;
  /** Statements that the source does not have, or has as other bytes, by path. */
  readonly opaque: readonly string[];
}

/** @throws LockstepError LOG_INCONSISTENT when the source is not a continuation of what was mirrored before */
export async function mirrorLog(source: LogSource, key: VerifierKey, folder: string): Promise<MirrorReport> {
  const view = await viewLog(source, key);
  mkdirSync(folder, { recursive: true });
  const before = existsSync(`${folder}/checkpoint`)
    ? openLogCheckpoint(readFileSync(`${folder}/checkpoint`), key).checkpoint
    : { size: 0, root: rootOf(EMPTY_TREE) };
  await requireConsistent(source, before, view.checkpoint);
  // Tiles first, then the entries that they are made of are hashed again, and only then the checkpoint says that it is all there.
  // One by one: a log may claim any size.
  for (const tile of newTiles(0, view.checkpoint.size)) {
    const path = tilePath(tile);
    const had = hashesAtLevel(tile.level === 'entries' ? 0 : tile.level, before.size);
    if (tile.index * TILE_WIDTH + tile.width > had || !existsSync(`${folder}/${path}`)) await copy(source, folder, path);
  }
  const own = folderSource(folder);
  const digests = new Set<string>();
  const opaque: string[] = [];
  await replay(own, EMPTY_TREE, view.checkpoint, ({ bytes }) => {
    const path = pathOfStatement(bytes);
    if (path !== null) digests.add(path);
  });
  for (const path of digests) {
    if (existsSync(`${folder}/${path}`)) continue;
    const bytes = await readStatement(source, path);
    if (bytes === null || path.slice('statement/'.length).replace('/', '') !== sha256Hex(bytes)) opaque.push(path);
    else put(folder, path, bytes);
  }
  writeDurably(`${folder}/checkpoint`, view.text);
  return { from: before.size, to: view.checkpoint.size, opaque };
}

function pathOfStatement(entry: Uint8Array): string | null {
  try {
    return statementPath(parseLogEntry(entry).digest);
  } catch {
    // An entry that is none of ours names no statement.
    return null;
  }
}

async function copy(source: LogSource, folder: string, path: string): Promise<void> {
  const bytes = await source.read(path, path.startsWith('tile/entries/') ? MAX_BUNDLE_BYTES : MAX_TILE_BYTES);
  if (bytes === null)
    throw new LockstepError('LOG_CORRUPT', `${source.name}: ${path} is missing`, 'Mirror from somewhere else, or tell the log’s operator.');
  put(folder, path, bytes);
}

function put(folder: string, path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(`${folder}/${path}`), { recursive: true });
  if (!createDurably(`${folder}/${path}`, bytes)) writeDurably(`${folder}/${path}`, bytes);
}
