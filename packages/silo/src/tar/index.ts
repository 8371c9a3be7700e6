/**
 * A strict index of an untrusted tar: every member checked before a byte of it is used.
 * Refuses what tar attacks are made of: absolute and climbing names, links that leave the tree, members below a
 * symbolic link, duplicates, devices and FIFOs, pax tricks (a global header that renames), and bombs.
 */
import { readSync } from 'node:fs';
import { SiloError } from '../failure.ts';
import { BLOCK, decodeHeader, type DecodedHeader, type Member, paddingOf, utf8 } from './header.ts';
import { escapingLink, linkLeavesTree, nameProblem } from './name.ts';

export interface IndexedMember extends Member {
  /** Byte offset of the content in the archive; for a hard link, of the file it repeats. */
  readonly offset: number;
  /** Seconds since 1970, as the archive says. */
  readonly mtime: number;
}

export interface ArchiveBounds {
  readonly files: number;
  readonly depth: number;
  readonly bytes: number;
}

/** A pax header describes one member: the longest real ones are a few KiB. */
const MAX_PAX_BYTES = 1 << 20;

interface Overrides {
  path?: string;
  linkpath?: string;
  size?: number;
}

/**
 * @param fd open, seekable file
 * @param length bytes in it
 * @param strip leading components to drop; a member with no more than that is dropped with them
 * @throws SiloError ARCHIVE_UNSAFE, ARCHIVE_INVALID or ARCHIVE_TOO_LARGE
 */
export function indexArchive(fd: number, length: number, bounds: ArchiveBounds, strip = 0): IndexedMember[] {
  const members = new Map<string, IndexedMember>();
  const original = new Map<string, IndexedMember>();
  const block = Buffer.alloc(BLOCK);
  let position = 0;
  let total = 0;
  let overrides: Overrides = {};
  let ended = false;
  while (position < length && !ended) {
    readExactly(fd, block, position);
    const header = decodeHeader(block);
    position += BLOCK;
    if (header === null) {
      ended = true;
      break;
    }
    if (typeof header === 'string') throw invalid(`${header} at byte ${position - BLOCK}`);
    const special = readSpecial(fd, header, position, overrides);
    if (special !== null) {
      overrides = special;
      position += header.size + paddingOf(header.size);
      continue;
    }
    const member = toMember(header, overrides, position);
    overrides = {};
    const stored = member.type === 'file' ? member.size : 0;
    position += stored + paddingOf(stored);
    if (position > length) throw invalid(`${show(member.name)} is cut off`);
    const resolved = resolveHardLink(member, original);
    original.set(member.name, resolved);
    const name = member.name.split('/').slice(strip).join('/');
    if (name === '') continue;
    const kept = { ...resolved, name };
    // With the name that is kept: dropped components are no room to climb.
    if (kept.type === 'symlink' && linkLeavesTree(name, kept.link))
      throw unsafe(`${show(name)} links to ${show(kept.link)}, outside the archive`);
    if (kept.name.split('/').length > bounds.depth) throw tooLarge(`${show(name)} is deeper than ${bounds.depth} directories`);
    addMember(members, kept);
    total += kept.size;
    if (members.size > bounds.files) throw tooLarge(`more than ${bounds.files} members`);
    if (total > bounds.bytes) throw tooLarge(`more than ${bounds.bytes} bytes unpacked`);
  }
  if (!ended) throw invalid('it has no end-of-archive block; it was cut off');
  checkParents(members);
  const escaping = escapingLink(members.values());
  if (escaping !== null) throw unsafe(`${show(escaping.name)} links to ${show(escaping.link)}, outside the archive by way of other links`);
  return [...members.values()];
}

function readExactly(fd: number, target: Buffer, position: number): void {
  let done = 0;
  while (done < target.length) {
    const count = readSync(fd, target, done, target.length - done, position + done);
    if (count === 0) throw invalid('it was cut off');
    done += count;
  }
}

/** pax and GNU extension headers; null when `header` is an ordinary member. */
function readSpecial(fd: number, header: DecodedHeader, position: number, before: Overrides): Overrides | null {
  if (!['x', 'g', 'L', 'K'].includes(header.flag)) return null;
  if (header.size > MAX_PAX_BYTES) throw tooLarge('an extended header larger than 1 MiB');
  const body = Buffer.alloc(header.size);
  readExactly(fd, body, position);
  if (header.flag === 'L' || header.flag === 'K') {
    const end = body.indexOf(0);
    const value = utf8(end < 0 ? body : body.subarray(0, end));
    if (value === null) throw invalid('a long name is not UTF-8');
    return header.flag === 'L' ? { ...before, path: value } : { ...before, linkpath: value };
  }
  const records = parsePax(body);
  if (header.flag === 'g') {
    for (const key of records.keys()) {
      if (key !== 'comment') throw unsafe(`a global pax header sets "${key}" for every member`);
    }
    return before;
  }
  const overrides: Overrides = { ...before };
  for (const [key, value] of records) {
    if (key === 'path') overrides.path = value;
    else if (key === 'linkpath') overrides.linkpath = value;
    else if (key === 'size') {
      if (!/^(0|[1-9][0-9]{0,15})$/.test(value)) throw invalid(`pax size ${show(value)}`);
      overrides.size = Number(value);
    } else if (key.startsWith('GNU.sparse')) throw unsafe('a sparse member');
  }
  return overrides;
}

function parsePax(body: Buffer): Map<string, string> {
  const records = new Map<string, string>();
  let at = 0;
  while (at < body.length) {
    const space = body.indexOf(0x20, at);
    const digits = space < 0 ? '' : body.toString('latin1', at, space);
    const size = /^[1-9][0-9]{0,6}$/.test(digits) ? Number(digits) : 0;
    if (size <= digits.length + 3 || at + size > body.length || body[at + size - 1] !== 0x0a) throw invalid('a malformed pax record');
    const record = utf8(body.subarray(space + 1, at + size - 1));
    const equals = record?.indexOf('=') ?? -1;
    if (record === null || equals <= 0) throw invalid('a malformed pax record');
    records.set(record.slice(0, equals), record.slice(equals + 1));
    at += size;
  }
  return records;
}

function toMember(header: DecodedHeader, overrides: Overrides, offset: number): IndexedMember {
  const raw = overrides.path ?? header.name;
  const isLink = header.flag === '1' || header.flag === '2';
  const link = isLink ? (overrides.linkpath ?? header.link) : '';
  if (raw === null || link === null) throw invalid(`a name is not UTF-8 at byte ${offset - BLOCK}`);
  const types: Record<string, Member['type']> = { '0': 'file', '7': 'file', '1': 'hardlink', '2': 'symlink', '5': 'directory' };
  const type = types[header.flag];
  if (type === undefined)
    throw unsafe(
      `${show(raw)} is a ${({ '3': 'character device', '4': 'block device', '6': 'FIFO' })[header.flag] ?? `member of type "${header.flag}"`}`,
    );
  // Readers disagree on whether bytes follow such a header; an honest writer puts none there. (GNU tar: hard links repeat a size.)
  if ((type === 'directory' || type === 'symlink') && header.size !== 0) throw invalid(`${show(raw)} is a ${type} with content`);
  const name = normalName(raw);
  return {
    name,
    type,
    mode: header.mode & 0o777,
    size: type === 'file' ? (overrides.size ?? header.size) : 0,
    link: type === 'hardlink' ? normalName(link) : link,
    offset,
    mtime: header.mtime,
  };
}

/** `./a//b/` is `a/b`; anything that climbs or is absolute is refused. '' is the root of the archive. */
function normalName(raw: string): string {
  if (raw.startsWith('/')) throw unsafe(`${show(raw)} is an absolute path`);
  const parts = raw.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw unsafe(`${show(raw)} climbs out of the archive`);
  const name = parts.join('/');
  const problem = name === '' ? null : nameProblem(name);
  if (problem !== null) throw unsafe(`${show(raw)}: ${problem}`);
  return name;
}

function resolveHardLink(member: IndexedMember, seen: Map<string, IndexedMember>): IndexedMember {
  if (member.type !== 'hardlink') return member;
  const target = seen.get(member.link);
  if (target?.type !== 'file')
    throw unsafe(`${show(member.name)} is a hard link to ${show(member.link)}, which is not an earlier file of the archive`);
  return { ...target, name: member.name };
}

function addMember(members: Map<string, IndexedMember>, member: IndexedMember): void {
  const earlier = members.get(member.name);
  if (earlier !== undefined && !(earlier.type === 'directory' && member.type === 'directory'))
    throw unsafe(`${show(member.name)} is there twice`);
  members.set(member.name, member);
}

function checkParents(members: Map<string, IndexedMember>): void {
  for (const name of members.keys()) {
    const parts = name.split('/');
    for (let depth = 1; depth < parts.length; depth++) {
      const parent = members.get(parts.slice(0, depth).join('/'));
      if (parent !== undefined && parent.type !== 'directory')
        throw unsafe(`${show(name)} lies below ${show(parent.name)}, which is not a directory`);
    }
  }
}

function show(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}

function unsafe(what: string): SiloError {
  return new SiloError('ARCHIVE_UNSAFE', `The archive holds ${what}`, 'Do not use this archive; ask its author for a clean one.');
}

function invalid(what: string): SiloError {
  return new SiloError('ARCHIVE_INVALID', `The archive cannot be read: ${what}`, 'Fetch it again, or check that it is a tar.');
}

function tooLarge(what: string): SiloError {
  return new SiloError(
    'ARCHIVE_TOO_LARGE',
    `The archive is larger than allowed: ${what}`,
    'Raise scratch_mb if the source is really that large.',
  );
}
