/** Nix's base 32 (Nix manual, "Nix32 encoding"): digits without e, o, t and u, the last bits of the bytes first, no padding. */
const DIGITS = '0123456789abcdfghijklmnpqrsvwxyz';

export function toNix32(bytes: Uint8Array): string {
  let out = '';
  for (let digit = Math.ceil((bytes.length * 8) / 5) - 1; digit >= 0; digit--) {
    const bit = digit * 5;
    const at = bit >> 3;
    const pair = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
    out += DIGITS[(pair >> (bit & 7)) & 31];
  }
  return out;
}

/** Exactly `length` bytes, else null: also when bits are set that no byte has. */
export function fromNix32(text: string, length: number): Uint8Array | null {
  if (text.length !== Math.ceil((length * 8) / 5)) return null;
  const bytes = new Uint8Array(length);
  for (let index = 0; index < text.length; index++) {
    const value = DIGITS.indexOf(text[index] ?? '');
    if (value < 0) return null;
    const bit = (text.length - 1 - index) * 5;
    const at = bit >> 3;
    const shifted = value << (bit & 7);
    bytes[at] = (bytes[at] ?? 0) | (shifted & 0xff);
    if (at + 1 < length) bytes[at + 1] = (bytes[at + 1] ?? 0) | (shifted >> 8);
    else if (shifted >> 8 !== 0) return null;
  }
  return bytes;
}
