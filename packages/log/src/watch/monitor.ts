/**
 * Watches a log: that it only ever grows, and what is new in it, by key and by package. What cannot be read is called
 * opaque. The state is the last checkpoint that was accepted, as the log signed it: evidence, should the log deny it.
 */
import { BUILD_URN } from '@lockstep/protocol/release/vsa';
import { decodeStatement, type Statement } from '@lockstep/protocol/statement/statement';
import { IN_TOTO_PAYLOAD } from '@lockstep/protocol/dsse/envelope';
import { openLogCheckpoint } from '@lockstep/protocol/checkpoint/open';
import { isTable } from '@lockstep/protocol/decode/decode';
import { isSignedEntry, type LogEntry, parseLogEntry } from '@lockstep/protocol/log-entry/log-entry';
import { EMPTY_TREE, rootOf } from '@lockstep/protocol/merkle/growing-tree';
import { type Json, parseJson } from '@lockstep/protocol/json/parse';
import type { VerifierKey } from '@lockstep/protocol/note/verifier-key';
import { isSignedStatement } from '../key/entry-signature.ts';
import type { LogSource } from '../source/log-source.ts';
import { replay, type ReplayedEntry } from '../source/replay.ts';
import { requireConsistent } from '../source/tree-reader.ts';
import { growFrom } from '../source/edge-of.ts';
import { type LogView, viewLog } from './log-view.ts';
import { resolveStatement } from './make-bundle.ts';

export interface MonitoredEntry {
  readonly index: number;
  /** SHA-256 of the signer's SubjectPublicKeyInfo; null when the entry is none that we know. */
  readonly key: string | null;
  readonly digest: string | null;
  readonly payloadType: string | null;
  /** Name and version of what was built; null for other documents. */
  readonly package: string | null;
  readonly buildId: string | null;
  /** Why nothing more can be said of it; null when it was read. */
  readonly opaque: string | null;
}

export interface MonitorReport {
  readonly from: number;
  readonly view: LogView;
  readonly entries: readonly MonitoredEntry[];
}

/**
 * @param last the note that was accepted last; null the first time
 * @throws LockstepError LOG_INCONSISTENT, LOG_CORRUPT, NOTE_INVALID: alarms
 */
export async function monitorLog(
  source: LogSource,
  key: VerifierKey,
  witnesses: readonly VerifierKey[],
  last: string | null,
): Promise<MonitorReport> {
  const view = await viewLog(source, key, witnesses);
  const before = last === null ? { size: 0, root: rootOf(EMPTY_TREE) } : openLogCheckpoint(last, key).checkpoint;
  await requireConsistent(source, before, view.checkpoint);
  const found: ReplayedEntry[] = [];
  await replay(source, await growFrom(source, before, view.checkpoint.size), view.checkpoint, (entry) => void found.push(entry));
  const entries: MonitoredEntry[] = [];
  for (const entry of found) entries.push(await describeEntry(source, entry));
  return { from: before.size, view, entries };
}

export async function describeEntry(source: LogSource, { index, bytes }: Pick<ReplayedEntry, 'index' | 'bytes'>): Promise<MonitoredEntry> {
  const nothing = { index, key: null, digest: null, payloadType: null, package: null, buildId: null };
  let entry: LogEntry;
  try {
    entry = parseLogEntry(bytes);
  } catch (error) {
    return { ...nothing, opaque: error instanceof Error ? error.message : String(error) };
  }
  const named = { ...nothing, key: entry.key.id, digest: entry.digest };
  const statement = await resolveStatement(source, entry);
  const signed = statement === null ? isSignedEntry(entry) : isSignedStatement(entry.key, statement.signed, entry.signature);
  if (!signed) return { ...named, opaque: 'its signature does not verify' };
  if (statement === null) return { ...named, opaque: 'what was signed is not beside the tiles' };
  return { ...named, payloadType: statement.payloadType, ...packageOf(statement.payloadType, statement.payload), opaque: null };
}

/** The build that a document is about; null for none. */
export function buildIdOf(payloadType: string, payload: Uint8Array): string | null {
  return packageOf(payloadType, payload).buildId;
}

function packageOf(payloadType: string, payload: Uint8Array): { package: string | null; buildId: string | null } {
  try {
    const json = parseJson(payload, 'statement');
    if (payloadType === IN_TOTO_PAYLOAD) {
      const decoded = decodeStatement(json);
      if (decoded.ok) return ofStatement(decoded.value);
      const summary = isTable(json) && isTable(json['predicate']) ? json['predicate']['resourceUri'] : null;
      if (typeof summary === 'string' && summary.startsWith(BUILD_URN)) return ofBuild(summary.slice(BUILD_URN.length));
    }
    return ofBuild(isTable(json) ? json['build_id'] : null);
  } catch {
    // Signed, published and not JSON: its payload type is all that can be said.
    return { package: null, buildId: null };
  }
}

function ofBuild(id: Json | undefined): { package: null; buildId: string | null } {
  return { package: null, buildId: typeof id === 'string' && /^[0-9a-f]{64}$/.test(id) ? id : null };
}

function ofStatement(statement: Statement): { package: string | null; buildId: string | null } {
  const { externalParameters, internalParameters } = statement.predicate.buildDefinition;
  const definition: Json = externalParameters.definition;
  const manifest = isTable(definition) ? definition['manifest'] : null;
  const [name, version] = manifest !== null && isTable(manifest) ? [manifest['name'], manifest['version']] : [];
  return {
    package: typeof name === 'string' && typeof version === 'string' ? `${name} ${version}` : null,
    buildId: internalParameters.build_id,
  };
}
