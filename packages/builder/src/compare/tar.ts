/** Members of a tar, for saying where a difference lies; tolerant, since it only names places. */
import type { FoundMember, RandomAccess } from './random-access.ts';

const BLOCK = 512;
const MAX_MEMBERS = 1_000_000;

export function tarMemberAt(file: RandomAccess, offset: number): FoundMember | null {
  if (file.read(257, 5).toString('latin1') !== 'ustar') return null;
  let at = 0;
  let longName = '';
  for (let count = 0; count < MAX_MEMBERS && at + BLOCK <= file.size; count++) {
    const header = file.read(at, BLOCK);
    const size = Number.parseInt(header.toString('latin1', 124, 135).replace(/\0.*$/, '').trim() || '0', 8);
    if (!Number.isSafeInteger(size)) return null;
    const flag = String.fromCharCode(header[156] ?? 0);
    const end = at + BLOCK + Math.ceil(size / BLOCK) * BLOCK;
    const name = longName !== '' ? longName : [text(header, 345, 155), text(header, 0, 100)].filter((part) => part !== '').join('/');
    if (offset < at + BLOCK) return { name: `${name} (tar header: ${fieldAt(offset - at)})`, start: null, size };
    if (offset < end) return { name, start: at + BLOCK, size };
    longName =
      flag === 'x'
        ? paxPath(file.read(at + BLOCK, Math.min(size, 8192)))
        : flag === 'L'
          ? text(file.read(at + BLOCK, Math.min(size, 4096)), 0, size)
          : '';
    at = end;
  }
  return null;
}

function text(block: Buffer, offset: number, length: number): string {
  return block.toString('utf8', offset, offset + length).replace(/\0.*$/s, '');
}

function paxPath(body: Buffer): string {
  return /(?:^|\n)\d+ path=([^\n]*)\n/.exec(body.toString('utf8'))?.[1] ?? '';
}

function fieldAt(offset: number): string {
  const fields: readonly (readonly [number, string])[] = [
    [345, 'prefix'],
    [297, 'group'],
    [265, 'user'],
    [257, 'magic'],
    [157, 'link'],
    [156, 'type'],
    [148, 'checksum'],
    [136, 'time'],
    [124, 'size'],
    [116, 'gid'],
    [108, 'uid'],
    [100, 'mode'],
    [0, 'name'],
  ];
  return fields.find(([start]) => offset >= start)?.[1] ?? '';
}

/** The first regular member whose path is accepted. @returns where its content lies */
export function findTarMember(
  file: RandomAccess,
  accept: (name: string) => boolean,
): { readonly start: number; readonly size: number } | null {
  let at = 0;
  while (at + BLOCK <= file.size) {
    const found = tarMemberAt(file, at);
    if (found === null) return null;
    const header = file.read(at, BLOCK);
    const name = found.name.replace(/ \(tar header: [^)]*\)$/, '');
    if (header[156] === 0x30 && accept(name)) return { start: at + BLOCK, size: found.size };
    at += BLOCK + Math.ceil(found.size / BLOCK) * BLOCK;
  }
  return null;
}
