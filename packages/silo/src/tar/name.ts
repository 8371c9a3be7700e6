/** What a path inside a source or an output may look like. */

/** Why a relative path is refused, or null. Control characters could rewrite a terminal, a log line or a checksum file. */
export function nameProblem(name: string): string | null {
  for (const character of name) {
    const code = character.codePointAt(0) ?? 0;
    if (code < 0x20 || code === 0x7f || (code >= 0x80 && code < 0xa0)) return 'its name has a control character';
    // Bidirectional overrides make a name look like another.
    if ((code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069)) return 'its name has a text-direction control';
    if (code >= 0xd800 && code <= 0xdfff) return 'its name is not valid UTF-8';
  }
  if (Buffer.byteLength(name) > 4096) return 'its path is longer than 4096 bytes';
  if (name.split('/').some((part) => Buffer.byteLength(part) > 255)) return 'a component of its path is longer than 255 bytes';
  return null;
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
