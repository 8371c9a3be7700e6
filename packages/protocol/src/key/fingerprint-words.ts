/** Proquints (D. S. Wilkerson, "A Proposal for Proquints"): 16 bits as five letters that can be said over a telephone. */
const CONSONANTS = 'bdfghjklmnprstvz';
const VOWELS = 'aiou';

/** @param bytes an even number of them @returns as many words as pairs of bytes, with hyphens between them */
export function proquints(bytes: Uint8Array): string {
  if (bytes.length % 2 !== 0) throw new TypeError('a proquint is two bytes');
  const words: string[] = [];
  for (let at = 0; at < bytes.length; at += 2) words.push(word(((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)));
  return words.join('-');
}

/** Four bits, two, four, two, four. */
function word(bits: number): string {
  const consonant = (shift: number): string => CONSONANTS[(bits >> shift) & 15] ?? '';
  const vowel = (shift: number): string => VOWELS[(bits >> shift) & 3] ?? '';
  return consonant(12) + vowel(10) + consonant(6) + vowel(4) + consonant(0);
}
