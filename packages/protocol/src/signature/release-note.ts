/** A signed note (C2SP signed-note) over a text that is no checkpoint: a release's checksum file. */
import { toUtf8 } from '../bytes/utf8.ts';
import { verifyEd25519 } from '../key/ed25519.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { formatNote, parseNote } from '../note/note.ts';
import type { VerifierKey } from '../note/verifier-key.ts';

/** What is signed. @throws LockstepError NOTE_INVALID when no note can hold the text */
export function releaseNoteMessage(text: string): Uint8Array {
  if (!text.endsWith('\n')) throw refused('the text has no newline at its end');
  const signature = { name: 'x', keyId: '00000000', signature: new Uint8Array(64) };
  // The parser is the rule: size, control characters, and a text that is more than a newline.
  if (parseNote(formatNote({ text, signatures: [signature] })).text !== text) throw refused('the text cannot be in a note');
  return toUtf8(text);
}

/** @throws LockstepError NOTE_INVALID */
export function formatReleaseNote(text: string, key: VerifierKey, signature: Uint8Array): string {
  if (key.type !== 'ed25519' || signature.length !== 64) throw refused('the signature is not of Ed25519');
  releaseNoteMessage(text);
  const note = formatNote({ text, signatures: [{ name: key.name, keyId: key.keyId, signature }] });
  // A long key name may make it larger than a note may be.
  if (parseNote(note).text !== text) throw refused('the text cannot be in a note');
  return note;
}

/**
 * The text, when this key signed it; null when the note has no signature of this key.
 * @throws LockstepError NOTE_INVALID when it is none, or when a signature of this key does not verify: then somebody changed it
 */
export function openReleaseNote(input: Uint8Array | string, key: VerifierKey): string | null {
  const { text, signatures } = parseNote(input);
  const own = signatures.filter((one) => key.type === 'ed25519' && one.name === key.name && one.keyId === key.keyId);
  if (own.length === 0) return null;
  const message = toUtf8(text);
  if (!own.every((one) => verifyEd25519(key.publicKey, message, one.signature)))
    throw refused(`the signature of ${key.name} (key ${key.keyId}) does not verify`);
  return text;
}

function refused(why: string): LockstepError {
  return new LockstepError('NOTE_INVALID', `Not a signed note: ${why}`, 'Get the file again from where it came from.');
}
