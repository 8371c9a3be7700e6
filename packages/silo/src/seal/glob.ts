/** `*` and `?` within one path component, `**` for any number of components, `[abc]` and `[a-z]` for one character. */
export function globToRegExp(glob: string): RegExp {
  let out = '';
  for (let at = 0; at < glob.length; at++) {
    const character = glob[at] ?? '';
    if (glob.startsWith('**/', at)) {
      out += '(?:[^/]+/)*';
      at += 2;
    } else if (glob.startsWith('**', at)) {
      out += '.*';
      at += 1;
    } else if (character === '*') out += '[^/]*';
    else if (character === '?') out += '[^/]';
    else if (character === '[') {
      const negated = glob[at + 1] === '!';
      // A "]" that comes first is one of the characters, as in fnmatch(3).
      const close = glob.indexOf(']', at + (negated ? 3 : 2));
      if (close < 0) out += '\\[';
      else {
        out += `(?!/)[${negated ? '^' : ''}${classBody(glob.slice(at + (negated ? 2 : 1), close))}]`;
        at = close;
      }
    } else out += character.replace(/[\\^$.|+(){}\]]/, '\\$&');
  }
  return new RegExp(`^${out}$`, 'u');
}

/** Every character escaped; a range that runs backwards holds nothing, as in fnmatch(3). */
function classBody(body: string): string {
  const characters = [...body];
  const escape = (character: string): string => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
  let out = '';
  for (let at = 0; at < characters.length; at++) {
    const from = characters[at] ?? '';
    const to = characters[at + 1] === '-' ? characters[at + 2] : undefined;
    if (to === undefined) out += escape(from);
    else {
      if ((from.codePointAt(0) ?? 0) <= (to.codePointAt(0) ?? 0)) out += `${escape(from)}-${escape(to)}`;
      at += 2;
    }
  }
  return out;
}

/** The leading components of a glob that hold no wildcard: where to start looking. */
export function fixedPrefix(glob: string): string {
  const parts = glob.split('/');
  const wild = parts.findIndex((part) => /[*?[]/.test(part));
  return parts.slice(0, wild < 0 ? parts.length - 1 : wild).join('/');
}
