/** The node's own log: what it has signed and refused. An entry is on the disk before anything that it tells of leaves. */
import { formatBundle } from '@lockstep/protocol/bundle/bundle';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import type { Checkpoint } from '@lockstep/protocol/checkpoint/checkpoint';
import { openLogCheckpoint } from '@lockstep/protocol/checkpoint/open';
import { formatDocument, readDocument } from '@lockstep/protocol/dsse/document';
import { pae } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { publicKeyFromSpki } from '@lockstep/protocol/key/p256';
import { parseLogEntry } from '@lockstep/protocol/log-entry/log-entry';
import { SIGNING_RECORD, type SigningRecord } from '@lockstep/protocol/signing/record';
import type { LogHome } from '@lockstep/log/sequence/log-home';
import { openSequencer } from '@lockstep/log/sequence/sequencer';
import { type CheckedSubmission, checkSubmission } from '@lockstep/log/sequence/submission';
import { requireConsistent } from '@lockstep/log/source/tree-reader';
import { viewLog } from '@lockstep/log/watch/log-view';
import { makeBundle, readEntry, resolveStatement } from '@lockstep/log/watch/make-bundle';
import type { SigningKey } from '../custody/signing-key.ts';

export interface OwnLog {
  readonly size: () => number;
  /** Every record, in order. */
  records(): AsyncGenerator<{ readonly index: number; readonly record: SigningRecord }>;
  record(index: number): Promise<SigningRecord>;
  /** Signed by the node, and such that the log takes it. Writes nothing. */
  entryOf(record: SigningRecord): Promise<CheckedSubmission>;
  /** Resolves when it is durable. @returns its index */
  append(entry: CheckedSubmission): Promise<number>;
  /** The answer: the Sigstore bundle of an entry. */
  bundle(index: number): Promise<Uint8Array>;
  checkpoint(): string;
  /** @throws LockstepError SIGNER_ROLLED_BACK when this log is not what it was when that checkpoint was handed out */
  requireContinues(checkpoint: string): Promise<void>;
  close(): Promise<void>;
}

/** @param nodeKey signs the entries @throws LockstepError LOG_CORRUPT, LOG_ROLLED_BACK */
export async function openOwnLog(home: LogHome, nodeKey: SigningKey): Promise<OwnLog> {
  const sequencer = await openSequencer(home, null);
  const size = (): number => sizeOf(home, sequencer.published());
  return {
    size,
    async *records() {
      const end = size();
      for (let index = 0; index < end; index++) yield { index, record: await recordAt(home, index, end) };
    },
    record: (index) => recordAt(home, index, size()),
    async entryOf(record) {
      const payload = formatDocument(SIGNING_RECORD, record);
      const signature = await nodeKey.sign(pae(SIGNING_RECORD.payloadType, payload));
      const signer = publicKeyFromSpki(nodeKey.public.spki);
      return checkSubmission({ payloadType: SIGNING_RECORD.payloadType, payload, signature, signer });
    },
    append: (entry) => sequencer.append(entry),
    async bundle(index) {
      return toUtf8(formatBundle(await makeBundle(home.source, home.key, await viewLog(home.source, home.key), index)));
    },
    checkpoint: () => sequencer.published(),
    requireContinues: (checkpoint) => requireContinues(home, sequencer.published(), checkpoint),
    close: () => sequencer.close(),
  };
}

/** A log without entries has published nothing yet. */
function sizeOf(home: LogHome, checkpoint: string): number {
  return checkpoint === '' ? 0 : openLogCheckpoint(checkpoint, home.key).checkpoint.size;
}

async function recordAt(home: LogHome, index: number, size: number): Promise<SigningRecord> {
  const entry = parseLogEntry(await readEntry(home.source, index, size));
  const statement = await resolveStatement(home.source, entry);
  const record = statement === null ? null : readDocument(SIGNING_RECORD, statement.payloadType, statement.payload);
  if (record === null)
    throw new LockstepError(
      'LOG_CORRUPT',
      `Entry ${index} of this node’s own log cannot be read`,
      'Restore the newest copy of its log: it is the node’s memory, and without it nothing is signed.',
    );
  return record;
}

async function requireContinues(home: LogHome, own: string, handedOut: string): Promise<void> {
  const rolledBack = (why: string): LockstepError =>
    new LockstepError(
      'SIGNER_ROLLED_BACK',
      `This node has forgotten what it did: ${why}`,
      'Its disk was restored, or copied. Restore the newest copy, or make a new node with a new key and rotate to it (docs/keys.md).',
    );
  let then: Checkpoint;
  try {
    then = openLogCheckpoint(handedOut, home.key).checkpoint;
  } catch (error) {
    // Of another node, or forged: nothing is known of where this node stood.
    throw new LockstepError(
      'SIGNING_REFUSED',
      `The checkpoint in the request is not one of this node: ${error instanceof Error ? error.message : String(error)}`,
      'Hand in the checkpoint of its last answer, or of "lockstep signer show".',
    );
  }
  const size = sizeOf(home, own);
  if (then.size > size) throw rolledBack(`it has ${size} entries in its log, and has handed out a checkpoint of ${then.size}`);
  if (then.size === 0) return;
  try {
    await requireConsistent(home.source, then, openLogCheckpoint(own, home.key).checkpoint);
  } catch (error) {
    if (error instanceof LockstepError && error.code === 'LOG_INCONSISTENT')
      throw rolledBack(`its log with ${then.size} entries was another one when that checkpoint was handed out`);
    throw error;
  }
}
