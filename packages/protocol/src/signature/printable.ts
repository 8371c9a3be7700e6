/**
 * Text that may stand in one line of a signature file and look on a terminal like what it is. The set is written out, not a
 * Unicode property: signer and verifier must agree, whatever version of Unicode their engine knows.
 */
import { toUtf8 } from '../bytes/utf8.ts';

/** Controls, line separators, and what is invisible or turns the direction of reading; U+FFFD is what bad UTF-8 is read as. */
const UNPRINTABLE =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\uffff\u{e0000}-\u{e0fff}]/u;

/** @param maxBytes of UTF-8 */
export function isPrintable(text: string, maxBytes: number): boolean {
  return text.length <= maxBytes && text.isWellFormed() && !UNPRINTABLE.test(text) && toUtf8(text).length <= maxBytes;
}
