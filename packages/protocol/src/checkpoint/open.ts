/** Opens a signed checkpoint: who of those that are known has signed it. */
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js';
import { toUtf8 } from '../bytes/utf8.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { verifyEd25519 } from '../key/ed25519.ts';
import { type Note, type NoteSignature, parseNote } from '../note/note.ts';
import type { VerifierKey } from '../note/verifier-key.ts';
import { type Checkpoint, parseCheckpointText } from './checkpoint.ts';
import { ed25519CosignatureMessage, mlDsaCosignatureMessage, parseTimestamped } from './cosignature.ts';

const ED25519_BYTES = 64;
const ML_DSA_44_BYTES = 2420;

export interface SignedBy {
  readonly key: VerifierKey;
  /** Seconds since 1970 of a cosignature; null for a log's plain signature. */
  readonly time: number | null;
}

export interface OpenedCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly note: Note;
  /** Each known key at most once. */
  readonly signedBy: readonly SignedBy[];
}

/**
 * Signatures of unknown keys are ignored; a known key with a bad signature rejects the whole note (C2SP signed-note,
 * "Signatures"), since it was tampered with or its signer misbehaves.
 * @throws LockstepError NOTE_INVALID, CHECKPOINT_INVALID
 */
export function openCheckpoint(input: Uint8Array | string, keys: readonly VerifierKey[]): OpenedCheckpoint {
  const note = parseNote(input);
  const checkpoint = parseCheckpointText(note.text);
  const signedBy: SignedBy[] = [];
  for (const signature of note.signatures) {
    // Two keys may share a short id: then one of them has to verify.
    const candidates = keys.filter((key) => key.name === signature.name && key.keyId === signature.keyId);
    if (candidates.length === 0) continue;
    const found = candidates.flatMap((key) => {
      const time = checkSignature(key, note, checkpoint, signature);
      return time === false ? [] : [{ key, time }];
    })[0];
    if (found === undefined)
      throw new LockstepError(
        'NOTE_INVALID',
        `The signature of ${signature.name} (key ${signature.keyId}) does not verify`,
        'The checkpoint was changed on its way. Get it again from the log.',
      );
    if (!signedBy.some((one) => one.key === found.key)) signedBy.push(found);
  }
  return { checkpoint, note, signedBy };
}

/**
 * The checkpoint of one log, signed by that log's own key under its own name.
 * @throws LockstepError NOTE_INVALID, CHECKPOINT_INVALID
 */
export function openLogCheckpoint(input: Uint8Array | string, log: VerifierKey, others: readonly VerifierKey[] = []): OpenedCheckpoint {
  const opened = openCheckpoint(input, [log, ...others]);
  if (opened.checkpoint.origin !== log.name)
    throw new LockstepError(
      'CHECKPOINT_INVALID',
      `The checkpoint is of the log ${opened.checkpoint.origin}, not of ${log.name}`,
      'Give the verifier key of the log that it came from.',
    );
  if (log.type !== 'ed25519' || !opened.signedBy.some((one) => one.key === log))
    throw new LockstepError(
      'NOTE_INVALID',
      `The checkpoint is not signed by the log ${log.name} (key ${log.keyId})`,
      'Give the verifier key of the log that it came from.',
    );
  return opened;
}

/** false when it does not verify; else the time of a cosignature, or null. */
function checkSignature(key: VerifierKey, note: Note, checkpoint: Checkpoint, signature: NoteSignature): number | null | false {
  if (key.type === 'ed25519') return verifyEd25519(key.publicKey, toUtf8(note.text), signature.signature) ? null : false;
  if (key.type === 'cosignature-ed25519') {
    const stamped = parseTimestamped(signature.signature, ED25519_BYTES);
    if (stamped === null) return false;
    return verifyEd25519(key.publicKey, ed25519CosignatureMessage(checkpoint, stamped.time), stamped.signature) ? stamped.time : false;
  }
  const stamped = parseTimestamped(signature.signature, ML_DSA_44_BYTES);
  if (stamped === null) return false;
  return verifyMlDsa(key.publicKey, mlDsaCosignatureMessage(key.name, checkpoint, stamped.time), stamped.signature) ? stamped.time : false;
}

function verifyMlDsa(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    return ml_dsa44.verify(signature, message, publicKey);
  } catch {
    return false;
  }
}
