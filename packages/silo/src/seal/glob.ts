/**
 * `*` and `?` within one path component, `**` for any number of components, `[abc]` and `[a-z]` for one character.
 * Matched in time proportional to pattern times path: a pattern comes from a manifest, a path from a build, and a
 * backtracking regular expression would let the two hang the silo.
 */

type Token = { readonly star: true } | { readonly star: false; readonly one: (character: string) => boolean };

export interface GlobMatcher {
  test(path: string): boolean;
}

export function globMatcher(glob: string): GlobMatcher {
  const parts = glob.split('/').map((part) => (part === '**' ? null : tokensOf(part)));
  return { test: (path) => matchComponents(parts, path.split('/')) };
}

/** `null` stands for `**`. One row of reachable positions at a time. */
function matchComponents(parts: readonly (readonly Token[] | null)[], path: readonly string[]): boolean {
  let reachable = new Set([0]);
  for (const [index, part] of parts.entries()) {
    const next = new Set<number>();
    for (const at of reachable) {
      if (part === null) {
        // At the end "**" stands for at least one component; before, for none too.
        for (let to = index === parts.length - 1 ? at + 1 : at; to <= path.length; to++) next.add(to);
      } else if (at < path.length && matchTokens(part, [...(path[at] ?? '')])) next.add(at + 1);
    }
    reachable = next;
  }
  return reachable.has(path.length);
}

/** The two-pointer match: a star takes one character more only when what follows it does not fit. */
function matchTokens(tokens: readonly Token[], text: readonly string[]): boolean {
  let token = 0;
  let at = 0;
  let star = -1;
  let taken = 0;
  while (at < text.length) {
    const current = tokens[token];
    if (current?.star === true) {
      star = token++;
      taken = at;
    } else if (current?.star === false && current.one(text[at] ?? '')) {
      token++;
      at++;
    } else if (star >= 0) {
      token = star + 1;
      at = ++taken;
    } else return false;
  }
  return tokens.slice(token).every((rest) => rest.star);
}

function tokensOf(part: string): Token[] {
  const characters = [...part];
  const tokens: Token[] = [];
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at] ?? '';
    if (character === '*') {
      if (tokens.at(-1)?.star !== true) tokens.push({ star: true });
    } else if (character === '?') tokens.push({ star: false, one: () => true });
    else if (character === '[') {
      const negated = characters[at + 1] === '!';
      // A "]" that comes first is one of the characters, as in fnmatch(3).
      const close = characters.indexOf(']', at + (negated ? 3 : 2));
      if (close < 0) tokens.push({ star: false, one: (one) => one === '[' });
      else {
        const pattern = new RegExp(`^[${negated ? '^' : ''}${classBody(characters.slice(at + (negated ? 2 : 1), close).join(''))}]$`, 'u');
        tokens.push({ star: false, one: (one) => pattern.test(one) });
        at = close;
      }
    } else tokens.push({ star: false, one: (one) => one === character });
  }
  return tokens;
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
