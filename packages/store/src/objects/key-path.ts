/**
 * Where a key lies in a folder. A bucket holds `a` and `a/b` side by side, and names longer than a file name may be; so
 * - a folder ends in `=`, which no key has: `a/b` is the file `a=/b`;
 * - of a name of 200 characters or more each 200 are a folder that ends in `~`; the file of an empty rest is `~`.
 * Sorted by `text`, the entries of a folder are in the order of the keys beneath them: none lies between two of another.
 */

/** Longest file name is 255 bytes (ext4, XFS); a temporary ending may come to it. */
const PIECE = 200;

export function pathOfKey(key: string): string {
  const parts = key.split('/');
  return parts.map((part, at) => pathOfPart(part, at === parts.length - 1)).join('/');
}

function pathOfPart(part: string, isFile: boolean): string {
  const whole = Math.floor(part.length / PIECE);
  const pieces = Array.from({ length: whole }, (_, at) => `${part.slice(at * PIECE, (at + 1) * PIECE)}~`);
  const rest = part.slice(whole * PIECE);
  return [...pieces, isFile ? rest || '~' : `${rest}=`].join('/');
}

export interface KeyEntry {
  readonly name: string;
  readonly isFolder: boolean;
  /** What it adds to the key. */
  readonly text: string;
}

export function readEntry(name: string): KeyEntry {
  if (name === '~') return { name, isFolder: false, text: '' };
  if (name.endsWith('=')) return { name, isFolder: true, text: `${name.slice(0, -1)}/` };
  if (name.endsWith('~')) return { name, isFolder: true, text: name.slice(0, -1) };
  return { name, isFolder: false, text: name };
}
