/** Reads anywhere in a file, or in a part of one: what the locators of members and sections work on. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

export interface RandomAccess {
  readonly size: number;
  /** Fewer bytes than asked for at the end of the file. */
  read(offset: number, length: number): Buffer;
}

/** A member of an archive that holds a given byte. */
export interface FoundMember {
  readonly name: string;
  /** Offset of its content; null when the place is in a header. */
  readonly start: number | null;
  readonly size: number;
}

export function openRandomAccess(path: string): { file: RandomAccess; close: () => void } {
  const fd = openSync(path, 'r');
  const file: RandomAccess = {
    size: fstatSync(fd).size,
    read(offset, length) {
      const buffer = Buffer.alloc(Math.max(0, Math.min(length, file.size - offset)));
      return buffer.subarray(0, buffer.length === 0 ? 0 : readSync(fd, buffer, 0, buffer.length, offset));
    },
  };
  return { file, close: () => closeSync(fd) };
}
