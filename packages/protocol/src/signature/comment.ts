/**
 * The lines that minisign and signify files are made of: a comment that nobody signs, then base64. minisign's trusted comment is
 * held to the same rule. A tab is taken, because minisign writes them itself; no other control character is.
 */
import { fromBase64, toBase64 } from '../bytes/base64.ts';
import { isPrintable } from './printable.ts';

const UNTRUSTED = 'untrusted comment: ';

/** Both programs read the whole line into 1024 bytes. */
export const MAX_UNTRUSTED_COMMENT = 1000;

export function isComment(text: string, maxBytes: number): boolean {
  return text.length <= maxBytes && isPrintable(text.replaceAll('\t', ' '), maxBytes);
}

/** Null when the comment is none that the programs read. */
export function untrustedLine(comment: string): string | null {
  return isComment(comment, MAX_UNTRUSTED_COMMENT) ? `${UNTRUSTED}${comment}\n` : null;
}

/** @param line without its newline */
export function readUntrustedLine(line: string): string | null {
  const comment = line.slice(UNTRUSTED.length);
  return line.startsWith(UNTRUSTED) && isComment(comment, MAX_UNTRUSTED_COMMENT) ? comment : null;
}

/** Exactly `length` bytes in the one spelling that the programs write, else null. */
export function readBase64Line(line: string, length: number): Uint8Array | null {
  if (line.length !== Math.ceil(length / 3) * 4) return null;
  const bytes = fromBase64(line);
  return bytes !== null && bytes.length === length && toBase64(bytes) === line ? bytes : null;
}
