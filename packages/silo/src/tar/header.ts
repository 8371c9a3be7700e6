/**
 * One 512-byte tar header block, POSIX.1-2017 "ustar interchange format". Pure: bytes in, fields out and back.
 */

export const BLOCK = 512;

type MemberType = 'file' | 'directory' | 'symlink' | 'hardlink';

export interface Member {
  /** Relative path, `/` between components, no leading or trailing slash. */
  readonly name: string;
  readonly type: MemberType;
  /** Permission bits only. */
  readonly mode: number;
  /** Bytes of content; 0 unless `type` is `file`. */
  readonly size: number;
  /** Target of a link, else ''. */
  readonly link: string;
}

const TYPE_FLAG: Record<MemberType, string> = { file: '0', hardlink: '1', symlink: '2', directory: '5' };
/** The largest value of an 11-digit octal field. */
const MAX_OCTAL_SIZE = 0o77777777777;

function isAscii(text: string): boolean {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 0x7f) return false;
  return true;
}

function octal(block: Buffer, offset: number, length: number, value: number): void {
  block.write(value.toString(8).padStart(length - 1, '0'), offset, length - 1, 'latin1');
}

interface RawHeader {
  readonly name: Buffer;
  readonly flag: string;
  readonly mode: number;
  readonly size: number;
  readonly link: Buffer;
  readonly mtime: number;
  /** GNU tar leaves the device numbers of an extended header unset. */
  readonly devices: boolean;
}

function encodeRaw(header: RawHeader): Buffer {
  const block = Buffer.alloc(BLOCK);
  header.name.copy(block, 0, 0, 100);
  octal(block, 100, 8, header.mode);
  octal(block, 108, 8, 0);
  octal(block, 116, 8, 0);
  octal(block, 124, 12, header.size > MAX_OCTAL_SIZE ? 0 : header.size);
  octal(block, 136, 12, header.mtime);
  block.fill(0x20, 148, 156);
  block.write(header.flag, 156, 1, 'latin1');
  header.link.copy(block, 157, 0, 100);
  block.write('ustar\x0000', 257, 8, 'latin1');
  if (header.devices) {
    octal(block, 329, 8, 0);
    octal(block, 337, 8, 0);
  }
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 8, 'latin1');
  return block;
}

/** pax record `LENGTH KEY=VALUE\n`, where LENGTH counts itself. */
function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length = rest + String(length).length;
  return Buffer.from(`${length} ${key}=${value}\n`);
}

/** Directory and base name as GNU tar's `%d/PaxHeaders/%f`. */
function paxHeaderName(path: string): string {
  const bare = path.replace(/\/+$/, '');
  const slash = bare.lastIndexOf('/');
  return slash < 0 ? `./PaxHeaders/${bare}` : `${bare.slice(0, slash)}/PaxHeaders/${bare.slice(slash + 1)}`;
}

/**
 * Header blocks of one member, as `tar --format=posix` writes them: a pax extended header where a name is not ASCII or a
 * field is too short, then the ustar header. Owner and group are 0 without names. `mtime` in seconds since 1970, 0 to 2^33 - 1.
 */
export function encodeMember(member: Member, mtime: number): Buffer {
  const path = member.type === 'directory' ? `${member.name}/` : member.name;
  const records: Buffer[] = [];
  if (Buffer.byteLength(member.link) > 100) records.push(paxRecord('linkpath', member.link));
  if (Buffer.byteLength(path) > 100 || !isAscii(path)) records.push(paxRecord('path', path));
  if (member.size > MAX_OCTAL_SIZE) records.push(paxRecord('size', String(member.size)));
  const header = encodeRaw({
    name: Buffer.from(path),
    flag: TYPE_FLAG[member.type],
    mode: member.mode,
    size: member.size,
    link: Buffer.from(member.link),
    mtime,
    devices: true,
  });
  if (records.length === 0) return header;
  const body = Buffer.concat(records);
  const pax = encodeRaw({
    name: Buffer.from(paxHeaderName(path)),
    flag: 'x',
    mode: 0o644,
    size: body.length,
    link: Buffer.alloc(0),
    mtime,
    devices: false,
  });
  return Buffer.concat([pax, body, Buffer.alloc(paddingOf(body.length)), header]);
}

/** Zero bytes that follow `size` bytes of content. */
export function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

/** Two zero blocks, then zeros to a multiple of 20 blocks, as GNU tar does. */
export function endOfArchive(written: number): Buffer {
  const record = BLOCK * 20;
  const end = written + 2 * BLOCK;
  return Buffer.alloc(2 * BLOCK + ((record - (end % record)) % record));
}

export interface DecodedHeader {
  /** null when it is not UTF-8: where a pax header gives the whole name, this one may be cut within a character. */
  readonly name: string | null;
  readonly flag: string;
  readonly mode: number;
  readonly size: number;
  /** null when it is not UTF-8. */
  readonly link: string | null;
  /** Seconds since 1970; 0 where the field is malformed, since nothing rests on it. */
  readonly mtime: number;
}

/** A decoded block, `null` for a zero block, or a reason in words when it is not a header. */
export function decodeHeader(block: Buffer): DecodedHeader | null | string {
  if (block.every((byte) => byte === 0)) return null;
  const stored = number(block, 148, 8);
  if (stored === null) return 'the checksum field is not a number';
  let sum = 8 * 0x20;
  for (let index = 0; index < BLOCK; index++) if (index < 148 || index >= 156) sum += block[index] ?? 0;
  if (sum !== stored) return 'the header checksum is wrong';
  const size = number(block, 124, 12);
  const mode = number(block, 100, 8);
  if (size === null || mode === null) return 'a number field is malformed';
  const ustar = block.toString('latin1', 257, 262) === 'ustar';
  const posix = ustar && block[262] === 0;
  const name = text(block, 0, 100);
  const prefix = posix ? text(block, 345, 155) : '';
  const link = text(block, 157, 100);
  const flag = block[156] === 0 ? '0' : String.fromCharCode(block[156] ?? 0);
  const whole = name === null || prefix === null ? null : prefix === '' ? name : `${prefix}/${name}`;
  return { name: whole, flag, mode: mode & 0o7777, size, link, mtime: number(block, 136, 12) ?? 0 };
}

function text(block: Buffer, offset: number, length: number): string | null {
  const field = block.subarray(offset, offset + length);
  const end = field.indexOf(0);
  return utf8(end < 0 ? field : field.subarray(0, end));
}

export function utf8(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** Octal, or GNU's base-256 for values that octal cannot hold; null when malformed, negative or unsafe. */
function number(block: Buffer, offset: number, length: number): number | null {
  const first = block[offset] ?? 0;
  if ((first & 0x80) !== 0) {
    if (first !== 0x80) return null;
    let value = 0n;
    for (let index = offset + 1; index < offset + length; index++) value = (value << 8n) | BigInt(block[index] ?? 0);
    return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : null;
  }
  const match = /^ *([0-7]*)[ \0]*$/.exec(block.toString('latin1', offset, offset + length));
  if (match === null) return null;
  return match[1] === '' || match[1] === undefined ? 0 : Number.parseInt(match[1], 8);
}
