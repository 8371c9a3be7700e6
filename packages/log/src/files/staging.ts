/**
 * What a group of entries adds, as one file: so that one fsync makes the whole group durable before anything is signed.
 * The files that a web server serves are written from it afterwards, and again after a crash.
 */
import { mkdirSync } from 'node:fs';
import { createHash } from 'node:crypto';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { createDurably } from '@lockstep/store/durable';
import { readIfPresent, removeFile } from './log-files.ts';

export type StagedFiles = ReadonlyMap<string, Uint8Array>;

export interface Staging {
  /** Durable when it returns. @returns SHA-256 of what was stored, read back */
  put(files: StagedFiles): Promise<Sha256>;
  /** null when it is no longer there; throws TypeError when it is other bytes. */
  get(digest: Sha256): Promise<StagedFiles | null>;
  remove(digest: Sha256): Promise<void>;
}

export function folderStaging(root: string): Staging {
  mkdirSync(root, { recursive: true });
  const pathOf = (digest: Sha256): string => `${root}/${digest}`;
  const digestOf = (bytes: Uint8Array): Sha256 => createHash('sha256').update(bytes).digest('hex') as Sha256;
  return {
    put(files) {
      const bytes = formatStaged(files);
      const digest = digestOf(bytes);
      createDurably(pathOf(digest), bytes);
      // Read back: what a signature is about to cover is what lies there.
      const stored = readIfPresent(pathOf(digest));
      if (stored === null || digestOf(stored) !== digest) throw new TypeError(`${pathOf(digest)} does not hold what was written`);
      return Promise.resolve(digest);
    },
    get(digest) {
      const bytes = readIfPresent(pathOf(digest));
      if (bytes === null) return Promise.resolve(null);
      if (digestOf(bytes) !== digest) throw new TypeError(`${pathOf(digest)} holds other bytes than its name says`);
      return Promise.resolve(parseStaged(bytes));
    },
    remove(digest) {
      removeFile(pathOf(digest));
      return Promise.resolve();
    },
  };
}

/** For each file: 16-bit length of its path, 32-bit length of its bytes, path, bytes. */
export function formatStaged(files: StagedFiles): Uint8Array {
  const parts: Buffer[] = [];
  for (const [path, bytes] of files) {
    const name = Buffer.from(path);
    const head = Buffer.alloc(6);
    head.writeUInt16BE(name.length, 0);
    head.writeUInt32BE(bytes.length, 2);
    parts.push(head, name, Buffer.from(bytes));
  }
  return Buffer.concat(parts);
}

/** @throws TypeError when the bytes end within a file */
export function parseStaged(bytes: Uint8Array): Map<string, Uint8Array> {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const files = new Map<string, Uint8Array>();
  for (let at = 0; at < view.length; ) {
    if (at + 6 > view.length) throw new TypeError('a staged file is cut off');
    const nameLength = view.readUInt16BE(at);
    const length = view.readUInt32BE(at + 2);
    const from = at + 6 + nameLength;
    if (from + length > view.length) throw new TypeError('a staged file is cut off');
    files.set(view.toString('utf8', at + 6, from), new Uint8Array(view.subarray(from, from + length)));
    at = from + length;
  }
  return files;
}
