/** RFC 4648 base64, strict: both alphabets when reading (DSSE 1.0.2 asks for it), no junk, no wrong padding, no stray bits. */
const STANDARD = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

const VALUES: ReadonlyMap<string, number> = new Map([
  ...[...STANDARD].map((character, index) => [character, index] as const),
  ['-', 62],
  ['_', 63],
]);

export function toBase64(bytes: Uint8Array): string {
  let out = '';
  for (let at = 0; at < bytes.length; at += 3) {
    const group = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
    const have = Math.min(3, bytes.length - at);
    for (let index = 0; index < 4; index++) out += index <= have ? STANDARD[(group >> (18 - 6 * index)) & 63] : '=';
  }
  return out;
}

/** Bytes, or null when `text` is not base64. */
export function fromBase64(text: string): Uint8Array | null {
  if (/[-_]/.test(text) && /[+/]/.test(text)) return null;
  const bare = text.replace(/={1,2}$/, '');
  if (bare.length % 4 === 1 || (text.length !== bare.length && text.length % 4 !== 0)) return null;
  const bytes = new Uint8Array(Math.floor((bare.length * 3) / 4));
  let bits = 0;
  let held = 0;
  let at = 0;
  for (const character of bare) {
    const value = VALUES.get(character);
    if (value === undefined) return null;
    bits = ((bits << 6) | value) & 0xffffff;
    held += 6;
    if (held >= 8) {
      held -= 8;
      bytes[at++] = (bits >> held) & 0xff;
    }
  }
  return (bits & ((1 << held) - 1)) === 0 ? bytes : null;
}
