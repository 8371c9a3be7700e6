/** C2SP signed-note: text, a blank line, and lines with signatures. */
import { fromBase64, toBase64 } from '../bytes/base64.ts';
import { fromHex, toHex } from '../bytes/hex.ts';
import { fromUtf8 } from '../bytes/utf8.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { isKeyName } from './verifier-key.ts';

export interface NoteSignature {
  readonly name: string;
  /** 8 lower-case hex digits. */
  readonly keyId: string;
  readonly signature: Uint8Array;
}

export interface Note {
  /** What is signed: with its last newline, without the blank line. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

/** "MUST accept at least up to 16 signatures", of up to 5 kB each. */
const MAX_SIGNATURES = 64;
const MAX_NOTE_LENGTH = 1_000_000;

/** @throws LockstepError NOTE_INVALID */
export function parseNote(input: Uint8Array | string): Note {
  const whole = typeof input === 'string' ? input : fromUtf8(input);
  if (whole === null || !whole.isWellFormed()) throw invalid('it is not UTF-8');
  if (whole.length > MAX_NOTE_LENGTH) throw invalid('it is larger than a megabyte');
  if (/[\u0000-\u0009\u000b-\u001f]/.test(whole)) throw invalid('it has a control character');
  const split = whole.lastIndexOf('\n\n');
  if (split < 1 || !whole.endsWith('\n')) throw invalid('it has no blank line before its signatures');
  const lines = whole.slice(split + 2, -1).split('\n');
  if (lines.length > MAX_SIGNATURES) throw invalid(`it has more than ${MAX_SIGNATURES} signatures`);
  return { text: whole.slice(0, split + 1), signatures: lines.map(parseSignatureLine) };
}

/** @throws LockstepError NOTE_INVALID */
export function parseSignatureLine(line: string): NoteSignature {
  const match = /^\u2014 ([^ \n]+) ([^ \n]+)$/u.exec(line);
  const name = match?.[1] ?? '';
  const encoded = match?.[2] ?? '';
  const bytes = fromBase64(encoded);
  if (match === null || !isKeyName(name) || bytes === null || bytes.length < 5 || toBase64(bytes) !== encoded)
    throw invalid('a signature line is malformed');
  return { name, keyId: toHex(bytes.subarray(0, 4)), signature: bytes.slice(4) };
}

export function formatSignatureLine(one: NoteSignature): string {
  return `\u2014 ${one.name} ${toBase64(Uint8Array.from([...(fromHex(one.keyId, 4) ?? []), ...one.signature]))}\n`;
}

export function formatNote(note: Note): string {
  return `${note.text}\n${note.signatures.map(formatSignatureLine).join('')}`;
}

function invalid(why: string): LockstepError {
  return new LockstepError('NOTE_INVALID', `Not a signed note: ${why}`, 'Get the file again from where it came from.');
}
