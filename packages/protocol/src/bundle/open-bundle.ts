/** Checks all that a bundle claims by itself, and tells who signed it, where it stands in which log, and who has witnessed that. */
import { sha256 } from '@noble/hashes/sha2.js';
import { fromHex } from '../bytes/hex.ts';
import { type OpenedCheckpoint, openLogCheckpoint } from '../checkpoint/open.ts';
import type { Sha256 } from '../digest/digest.ts';
import { toHex } from '../bytes/hex.ts';
import { pae } from '../dsse/envelope.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { type PublicKey, verifyP256Digest } from '../key/p256.ts';
import { type LogEntry, parseLogEntry } from '../log-entry/log-entry.ts';
import { leafHash, sameHash } from '../merkle/hash.ts';
import { verifyInclusion } from '../merkle/proof.ts';
import { noteKeyHash, type VerifierKey } from '../note/verifier-key.ts';
import type { Bundle } from './bundle.ts';

/** A document that somebody signed and a log has. */
export interface LoggedDocument {
  readonly payloadType: string;
  readonly payload: Uint8Array;
  /** SHA-256 of the pre-authentication encoding: names the document. */
  readonly digest: Sha256;
  /** Whoever holds this key signed it. Whether the key counts is for a policy to say. */
  readonly signer: PublicKey;
  readonly log: VerifierKey;
  readonly index: number;
  readonly opened: OpenedCheckpoint;
}

export type CheckpointOpener = (text: string, log: VerifierKey, witnesses: readonly VerifierKey[]) => OpenedCheckpoint;

/** Bundles of one log mostly have one checkpoint: its signatures are checked once. For one set of witnesses. */
export function openingOnce(): CheckpointOpener {
  const seen = new Map<string, { readonly log: VerifierKey; readonly opened: OpenedCheckpoint }>();
  return (text, log, witnesses) => {
    const before = seen.get(text);
    if (before?.log === log) return before.opened;
    const opened = openLogCheckpoint(text, log, witnesses);
    seen.set(text, { log, opened });
    return opened;
  };
}

/**
 * @param logs keys that checkpoints are accepted from
 * @param witnesses keys whose cosignatures are reported
 * @param opener for many bundles: `openingOnce`
 * @throws LockstepError BUNDLE_INVALID, NOTE_INVALID, CHECKPOINT_INVALID, LOG_ENTRY_INVALID
 */
export function openBundle(
  bundle: Bundle,
  logs: readonly VerifierKey[],
  witnesses: readonly VerifierKey[],
  opener: CheckpointOpener = openLogCheckpoint,
): LoggedDocument {
  const invalid = (why: string): LockstepError =>
    new LockstepError('BUNDLE_INVALID', why, 'Get the bundle again: lockstep log prove LOG FILE. If it stays so, somebody changed it.');
  const log = logs.find((key) => sameHash(noteKeyHash(key.name, key.type, key.publicKey), bundle.logId));
  if (log === undefined) throw invalid(`The bundle is of a log that is not known here (log id ${toHex(bundle.logId).slice(0, 16)})`);
  const opened = opener(bundle.checkpoint, log, witnesses);
  const { checkpoint } = opened;
  if (checkpoint.size !== bundle.treeSize || !sameHash(checkpoint.root, bundle.root))
    throw invalid('The proof is for another tree than the checkpoint');
  if (!verifyInclusion(leafHash(bundle.entry), bundle.index, checkpoint, bundle.proof))
    throw invalid(`The entry is not at index ${bundle.index} of the log ${log.name}`);
  const { digest, signer } = openEntry(bundle, parseLogEntry(bundle.entry));
  return { payloadType: bundle.payloadType, payload: bundle.payload, digest, signer, log, index: bundle.index, opened };
}

/** A log entry can be in the log and be about another document (CVE-2026-22703), so each part is compared. */
function openEntry(bundle: Bundle, entry: LogEntry): { digest: Sha256; signer: PublicKey } {
  const invalid = (why: string): LockstepError =>
    new LockstepError('BUNDLE_INVALID', why, 'The log entry belongs to another document. Get the bundle again from the log.');
  const digest = sha256(pae(bundle.payloadType, bundle.payload));
  if (!sameHash(digest, fromHex(entry.digest, 32) ?? new Uint8Array(0))) throw invalid('The log entry is about another document');
  if (!sameHash(entry.signature, bundle.signature)) throw invalid('The log entry has another signature');
  if (!verifyP256Digest(entry.key, digest, bundle.signature)) throw invalid('The signature does not verify with the key of the log entry');
  return { digest: entry.digest, signer: entry.key };
}
