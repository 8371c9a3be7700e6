/** Which section of an ELF file (System V gABI, 64-bit little-endian) a byte belongs to. */
import type { RandomAccess } from './random-access.ts';

const NOBITS = 8;
const MAX_SECTIONS = 65_535;

export function elfSectionAt(file: RandomAccess, offset: number): string | null {
  const header = file.read(0, 64);
  if (header.length < 64 || header.readUInt32BE(0) !== 0x7f454c46 || header[4] !== 2 || header[5] !== 1) return null;
  const table = Number(header.readBigUInt64LE(40));
  const entry = header.readUInt16LE(58);
  const count = Math.min(header.readUInt16LE(60), MAX_SECTIONS);
  const namesIndex = header.readUInt16LE(62);
  if (entry < 64 || namesIndex >= count) return null;
  if (offset < 64) return '(ELF header)';
  const sectionOf = (index: number): { name: number; type: number; start: number; size: number } | null => {
    const bytes = file.read(table + index * entry, 64);
    if (bytes.length < 64) return null;
    return {
      name: bytes.readUInt32LE(0),
      type: bytes.readUInt32LE(4),
      start: Number(bytes.readBigUInt64LE(24)),
      size: Number(bytes.readBigUInt64LE(32)),
    };
  };
  const names = sectionOf(namesIndex);
  for (let index = 1; index < count; index++) {
    const section = sectionOf(index);
    if (section === null || names === null) return null;
    if (section.type === NOBITS || offset < section.start || offset >= section.start + section.size) continue;
    return (
      file
        .read(names.start + section.name, 64)
        .toString('latin1')
        .replace(/\0.*$/s, '') || '(unnamed)'
    );
  }
  return offset >= table && offset < table + count * entry ? '(section headers)' : null;
}
