/** What a path inside a source or an output may look like. */

/** Why a relative path is refused, or null. Control characters could rewrite a terminal, a log line or a checksum file. */
export function nameProblem(name: string): string | null {
  for (const character of name) {
    const code = character.codePointAt(0) ?? 0;
    if (code < 0x20 || code === 0x7f || (code >= 0x80 && code < 0xa0)) return 'its name has a control character';
    // Bidirectional overrides make a name look like another.
    if (code === 0x061c || code === 0x200e || code === 0x200f || (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069))
      return 'its name has a text-direction control';
    if (code >= 0xd800 && code <= 0xdfff) return 'its name is not valid UTF-8';
  }
  if (Buffer.byteLength(name) > 4096) return 'its path is longer than 4096 bytes';
  if (name.split('/').some((part) => Buffer.byteLength(part) > 255)) return 'a component of its path is longer than 255 bytes';
  return null;
}

/** Symbolic links followed for one name; Linux gives up after as many (path_resolution(7)). */
const MAX_HOPS = 40;
/** Components walked for one tree: links that climb behind a name are rare, and a hostile tree has thousands of long ones. */
const MAX_STEPS = 10_000_000;

/**
 * The first link that leaves the tree by way of others (`a/x -> ..`, then `y -> a/x/..`), or null. Every link on its own
 * is one that `linkLeavesTree` lets pass, and none lies below another: so only a climb behind a name needs to be followed.
 */
export function escapingLink<T extends { readonly name: string; readonly type: string; readonly link: string }>(
  members: Iterable<T>,
): T | null {
  const links = new Map<string, T>();
  for (const member of members) if (member.type === 'symlink') links.set(member.name, member);
  let steps = 0;
  const escapes = (start: T): boolean => {
    const at = start.name.split('/').slice(0, -1);
    const todo = start.link.split('/').reverse();
    let hops = 0;
    for (let part = todo.pop(); part !== undefined; part = todo.pop()) {
      if (++steps > MAX_STEPS) return true;
      if (part === '' || part === '.') continue;
      if (part === '..') {
        if (at.pop() === undefined) return true;
        continue;
      }
      const next = links.get([...at, part].join('/'));
      if (next === undefined) at.push(part);
      else if (++hops > MAX_HOPS) return false;
      else todo.push(...next.link.split('/').reverse());
    }
    return false;
  };
  for (const link of links.values()) if (climbsBehindName(link.link) && escapes(link)) return link;
  return null;
}

function climbsBehindName(link: string): boolean {
  const parts = link.split('/').filter((part) => part !== '' && part !== '.');
  return parts.lastIndexOf('..') > parts.findIndex((part) => part !== '..');
}

/** Whether a symbolic link at `name` with target `link` points outside the tree that holds it. */
export function linkLeavesTree(name: string, link: string): boolean {
  if (link === '' || link.startsWith('/') || link.includes('\0')) return true;
  let depth = name.split('/').length - 1;
  for (const part of link.split('/')) {
    if (part === '' || part === '.') continue;
    depth += part === '..' ? -1 : 1;
    if (depth < 0) return true;
  }
  return false;
}
