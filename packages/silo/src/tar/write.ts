/**
 * Writes canonical tars: members sorted by bytes, one time, owner 0, permission bits only, hard links as files.
 * Same tree, same bytes, on every host. Checked byte for byte against GNU tar in the tests.
 */
import { createHash, type Hash } from 'node:crypto';
import { closeSync, constants, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
import { SiloError } from '../failure.ts';
import { encodeMember, endOfArchive, type Member, paddingOf } from './header.ts';

/** One buffer for any size of content, so that memory stays flat. */
const CHUNK = 1 << 20;

interface Content {
  readonly fd: number;
  readonly offset: number;
}

export interface TarWriter {
  /** Content is required for a file with a size; it is read from `fd` at `offset`. */
  add(member: Member, content: Content | null): void;
  /** Ends the archive. */
  end(): { sha256: string; size: number };
}

/** @param fd where to write, or null to compute only the digest */
export function tarWriter(fd: number | null, mtime: number): TarWriter {
  const hash: Hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(CHUNK);
  let pending = 0;
  let written = 0;
  const flush = (): void => {
    const bytes = chunk.subarray(0, pending);
    hash.update(bytes);
    if (fd !== null) writeAll(fd, bytes);
    pending = 0;
  };
  const emit = (bytes: Buffer): void => {
    written += bytes.length;
    let at = 0;
    while (at < bytes.length) {
      const count = bytes.copy(chunk, pending, at);
      pending += count;
      at += count;
      if (pending === CHUNK) flush();
    }
  };
  const copy = (content: Content, size: number, name: string): void => {
    let done = 0;
    while (done < size) {
      const count = readSync(content.fd, chunk, pending, Math.min(CHUNK - pending, size - done), content.offset + done);
      if (count === 0)
        throw new SiloError(
          'SANDBOX_FAILED',
          `${name} became shorter while it was read`,
          'Something else writes to the scratch; give it to one silo only.',
        );
      done += count;
      pending += count;
      written += count;
      if (pending === CHUNK) flush();
    }
  };
  return {
    add(member, content) {
      emit(encodeMember(member, mtime));
      if (member.type !== 'file' || member.size === 0) return;
      if (content === null) throw new TypeError(`no content for ${member.name}`);
      copy(content, member.size, member.name);
      emit(Buffer.alloc(paddingOf(member.size)));
    },
    end() {
      emit(endOfArchive(written));
      flush();
      return { sha256: hash.digest('hex'), size: written };
    },
  };
}

export function writeAll(fd: number, bytes: Uint8Array): void {
  let done = 0;
  while (done < bytes.length) done += writeSync(fd, bytes, done, bytes.length - done);
}

/** Sorted by UTF-8 bytes component by component, a directory before what it holds: the order of `tar --sort=name`. */
export function byBytes(a: { name: string }, b: { name: string }): number {
  return Buffer.compare(Buffer.from(a.name.replaceAll('/', '\0')), Buffer.from(b.name.replaceAll('/', '\0')));
}

/**
 * Write a new file at `path`; removes nothing on failure, since the scratch is thrown away as a whole.
 * @param durable sync it: for what leaves the sandbox, not for what goes into it
 */
export function toNewFile<T>(path: string, mode: number, write: (fd: number) => T, durable = true): T {
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, mode);
  try {
    const result = write(fd);
    if (durable) fsyncSync(fd);
    return result;
  } finally {
    closeSync(fd);
  }
}

/** Open for reading without following a link, and with the size that was really opened. */
export function openRegular(path: string): { fd: number; size: number } {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const stat = fstatSync(fd);
  if (!stat.isFile()) {
    closeSync(fd);
    throw new SiloError('OUTPUT_REFUSED', `${path} is not a regular file`, 'Only regular files can be read.');
  }
  return { fd, size: stat.size };
}
