/** Sigstore bundles of what a log has: the document, its entry, the proof, the checkpoint. */
import { createHash } from 'node:crypto';
import { type Bundle } from '@lockstep/protocol/bundle/bundle';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type LogEntry, parseLogEntry } from '@lockstep/protocol/log-entry/log-entry';
import { parsePae, statementPath } from '@lockstep/protocol/log-entry/statement-path';
import { leafHash } from '@lockstep/protocol/merkle/hash';
import { verifyInclusion } from '@lockstep/protocol/merkle/proof';
import { TILE_WIDTH } from '@lockstep/protocol/merkle/tile';
import { noteKeyHash, type VerifierKey } from '@lockstep/protocol/note/verifier-key';
import { isSignedStatement } from '../key/entry-signature.ts';
import { type LogSource, MAX_STATEMENT_BYTES } from '../source/log-source.ts';
import { proveInclusion, readEntries } from '../source/tree-reader.ts';
import type { LogView } from './log-view.ts';

export interface ResolvedStatement {
  readonly payloadType: string;
  readonly payload: Uint8Array;
  /** The whole pre-authentication encoding. */
  readonly signed: Uint8Array;
}

/** What an entry is about, read from beside the tiles; null when it is not there, or is other bytes: then it is opaque. */
export async function resolveStatement(source: LogSource, entry: LogEntry): Promise<ResolvedStatement | null> {
  const bytes = await readStatement(source, statementPath(entry.digest));
  if (bytes === null || createHash('sha256').update(bytes).digest('hex') !== entry.digest) return null;
  const parsed = parsePae(bytes);
  return parsed === null ? null : { ...parsed, signed: bytes };
}

/** One file that is too large makes its entry opaque, and no more: a stranger may have had it logged. */
export async function readStatement(source: LogSource, path: string): Promise<Uint8Array | null> {
  try {
    return await source.read(path, MAX_STATEMENT_BYTES);
  } catch (error) {
    if (error instanceof LockstepError && error.code === 'FETCH_TOO_LARGE') return null;
    throw error;
  }
}

export async function readEntry(source: LogSource, index: number, size: number): Promise<Uint8Array> {
  if (index < 0 || index >= size)
    throw new LockstepError('USAGE', `There is no entry ${index}: the log has ${size}`, 'Indexes count from 0.');
  const tile = Math.floor(index / TILE_WIDTH);
  const entries = await readEntries(source, { level: 'entries', index: tile, width: Math.min(TILE_WIDTH, size - tile * TILE_WIDTH) });
  const entry = entries[index % TILE_WIDTH];
  if (entry === undefined) throw new TypeError('a bundle of entries is shorter than it was checked to be');
  return entry;
}

/** @throws LockstepError LOG_CORRUPT when what was signed is no longer beside the tiles */
export async function makeBundle(source: LogSource, key: VerifierKey, view: LogView, index: number): Promise<Bundle> {
  const entry = await readEntry(source, index, view.checkpoint.size);
  const parsed = parseLogEntry(entry);
  const statement = await resolveStatement(source, parsed);
  if (statement === null || !isSignedStatement(parsed.key, statement.signed, parsed.signature))
    throw new LockstepError(
      'LOG_CORRUPT',
      `${source.name}: entry ${index} is opaque: ${statementPath(parsed.digest)} is missing or is other bytes`,
      'Get the file from a mirror.',
    );
  const proof = await proveInclusion(source, index, view.checkpoint.size);
  if (!verifyInclusion(leafHash(entry), index, view.checkpoint, proof))
    throw new LockstepError(
      'LOG_CORRUPT',
      `${source.name}: its tiles do not prove entry ${index}`,
      'Run "lockstep log verify" to find the file.',
    );
  return {
    payloadType: statement.payloadType,
    payload: statement.payload,
    signature: parsed.signature,
    keyHint: parsed.key.id,
    entry,
    index,
    logId: noteKeyHash(key.name, key.type, key.publicKey),
    proof,
    treeSize: view.checkpoint.size,
    root: view.checkpoint.root,
    checkpoint: view.text,
  };
}
