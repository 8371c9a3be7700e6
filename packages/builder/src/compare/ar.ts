/** Members of an ar archive (ar(5)): static libraries and `.deb` files. */
import type { FoundMember, RandomAccess } from './random-access.ts';

const HEADER = 60;
const MAX_MEMBERS = 100_000;

export function arMemberAt(file: RandomAccess, offset: number): FoundMember | null {
  if (file.read(0, 8).toString('latin1') !== '!<arch>\n') return null;
  let at = 8;
  for (let count = 0; count < MAX_MEMBERS && at + HEADER <= file.size; count++) {
    const header = file.read(at, HEADER).toString('latin1');
    const size = Number(header.slice(48, 58).trim());
    if (!Number.isSafeInteger(size) || size < 0) return null;
    const name = header.slice(0, 16).trim().replace(/\/$/, '');
    if (offset < at + HEADER) return { name: `${name} (ar header)`, start: null, size };
    if (offset < at + HEADER + size) return { name, start: at + HEADER, size };
    at += HEADER + size + (size % 2);
  }
  return null;
}
