/** What a build printed, made safe to show: a terminal obeys escape sequences, and a build could write them. */

/** Keeps line feeds and tabs; other control characters, and what could reorder text, become visible signs. */
export function harmless(text: string): string {
  let out = '';
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    if (code === 0x0a || code === 0x09) out += character;
    else if (code < 0x20) out += String.fromCodePoint(0x2400 + code);
    else if (code === 0x7f) out += '␡';
    else if (
      (code >= 0x80 && code < 0xa0) ||
      code === 0x061c ||
      code === 0x200e ||
      code === 0x200f ||
      (code >= 0x202a && code <= 0x202e) ||
      (code >= 0x2066 && code <= 0x2069)
    )
      out += `\\u{${code.toString(16)}}`;
    else out += character;
  }
  return out;
}

/** Carriage returns repaint a line; what stays visible is what came after the last one. */
export function harmlessLines(bytes: Buffer): string[] {
  return bytes
    .toString('utf8')
    .split('\n')
    .map((line) => harmless(line.replace(/\r+$/, '').split('\r').at(-1) ?? ''));
}

/** The same for what has to stay on one line: foreign text could otherwise add a line of its own to a verdict. */
export function harmlessLine(text: string): string {
  return harmless(text).replaceAll('\n', '␊').replaceAll('\t', ' ');
}
