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
      const close = glob.indexOf(']', at + 2);
      if (close < 0) out += '\\[';
      else {
        const body = glob
          .slice(at + 1, close)
          .replaceAll('\\', '\\\\')
          .replaceAll('/', '');
        out += `[${body.startsWith('!') ? `^/${body.slice(1)}` : body.replace(/^\^/, '\\^')}]`;
        at = close;
      }
    } else out += character.replace(/[\\^$.|+(){}\]]/, '\\$&');
  }
  return new RegExp(`^${out}$`, 'u');
}

/** The leading components of a glob that hold no wildcard: where to start looking. */
export function fixedPrefix(glob: string): string {
  const parts = glob.split('/');
  const wild = parts.findIndex((part) => /[*?[]/.test(part));
  return parts.slice(0, wild < 0 ? parts.length - 1 : wild).join('/');
}
