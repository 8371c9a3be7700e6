/** Where two files first differ: offset, and the section or member that lies there. Reads only; bounded. */
import { arMemberAt } from './ar.ts';
import { openRandomAccess, type RandomAccess } from './random-access.ts';
import { elfSectionAt } from './elf.ts';
import { tarMemberAt } from './tar.ts';

export interface Difference {
  readonly file: string;
  /** Bytes from the start; null when it is not about bytes. */
  readonly offset: number | null;
  /** `.rodata`, `member usr/bin/hello`, or ''. */
  readonly where: string;
  /** Bytes in each; null where there is no file. */
  readonly sizes: readonly [number | null, number | null];
  /** A few bytes of each from there, as printable text. */
  readonly left: string;
  readonly right: string;
  /** Where the two files lie while this process runs, for whoever wants to look deeper. */
  readonly paths: readonly [string, string] | null;
}

const CHUNK = 1 << 20;
const CONTEXT_BEFORE = 8;
const CONTEXT_BYTES = 48;

/** null when they are equal. */
export function whereTheyDiffer(name: string, leftPath: string, rightPath: string): Difference | null {
  const left = openRandomAccess(leftPath);
  const right = openRandomAccess(rightPath);
  try {
    const offset = firstDifference(left.file, right.file);
    if (offset === null) return null;
    return {
      file: name,
      offset,
      where: locate(left.file, offset) ?? locate(right.file, offset) ?? '',
      sizes: [left.file.size, right.file.size],
      left: excerpt(left.file, offset),
      right: excerpt(right.file, offset),
      paths: [leftPath, rightPath],
    };
  } finally {
    left.close();
    right.close();
  }
}

function firstDifference(left: RandomAccess, right: RandomAccess): number | null {
  const shorter = Math.min(left.size, right.size);
  for (let at = 0; at < shorter; at += CHUNK) {
    const a = left.read(at, Math.min(CHUNK, shorter - at));
    const b = right.read(at, Math.min(CHUNK, shorter - at));
    if (a.equals(b)) continue;
    for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return at + index;
  }
  return left.size === right.size ? null : shorter;
}

/** Containers within containers: the innermost name that can be told, outermost first. */
function locate(file: RandomAccess, offset: number): string | null {
  const names: string[] = [];
  let view = file;
  let at = offset;
  for (let depth = 0; depth < 4; depth++) {
    const member = tarMemberAt(view, at) ?? arMemberAt(view, at);
    if (member === null) break;
    names.push(`member ${member.name}`);
    if (member.start === null) return names.join(', ');
    const start = member.start;
    const outer = view;
    view = { size: member.size, read: (from, length) => outer.read(start + from, Math.min(length, member.size - from)) };
    at -= start;
  }
  const section = elfSectionAt(view, at);
  if (section !== null) names.push(`section ${section}`);
  const magic = view.read(0, 10);
  if (magic[0] === 0x1f && magic[1] === 0x8b) names.push(at >= 4 && at < 8 ? 'gzip header: time' : 'gzip-compressed data');
  if (magic.subarray(0, 6).equals(Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]))) names.push('xz-compressed data');
  return names.length === 0 ? null : names.join(', ');
}

function excerpt(file: RandomAccess, offset: number): string {
  const start = Math.max(0, offset - CONTEXT_BEFORE);
  return [...file.read(start, CONTEXT_BYTES)].map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '·')).join('');
}
