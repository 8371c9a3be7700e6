/**
 * Content-addressed blobs in a folder: `blobs/ab/cdef…`, named by SHA-256, read-only, written once.
 * Guarantees: a blob that can be seen is whole and on the disk; two writers of the same bytes both succeed; a read that
 * asks for verification never returns other bytes than the name promises.
 */
import {
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  fsyncSync,
  closeSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import { isSha256, type Sha256, sha256Hex } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { sha256File } from './digests.ts';
import { createDurably, syncFolder, temporaryName } from './durable.ts';

export interface Blobs {
  has(digest: Sha256): boolean;
  /** Bytes in the blob, or null when it is not there. */
  size(digest: Sha256): number | null;
  /** Small content, verified. @throws LockstepError INPUT_GONE, STORE_CORRUPT */
  read(digest: Sha256): Buffer;
  put(bytes: Uint8Array | string): Sha256;
  /** Takes a file over (the caller's name for it is gone afterwards). Hashes it unless the digest was just computed from it. */
  adopt(path: string, known?: Sha256): Sha256;
  /** Show a blob at `target`: a hard link where the volume is the same, else a verified copy. */
  materialise(digest: Sha256, target: string): void;
  /** Copy out, verifying on the way. @throws LockstepError STORE_CORRUPT; nothing stays at `target` then */
  copyOut(digest: Sha256, target: string, mode?: number): void;
  list(): Sha256[];
  /** Where it lies; for reading only. */
  path(digest: Sha256): string;
}

export function folderBlobs(root: string): Blobs {
  mkdirSync(root, { recursive: true });
  const pathOf = (digest: Sha256): string => `${root}/${digest.slice(0, 2)}/${digest.slice(2)}`;
  // In one place, so that what a killed writer left can be swept without reading every folder.
  const incoming = (): string => temporaryName(`${root}/incoming`);
  const made = new Set<string>();
  const ensureFolder = (path: string): void => {
    const folder = dirname(path);
    if (made.has(folder)) return;
    if (!existsSync(folder)) {
      mkdirSync(folder, { recursive: true });
      syncFolder(root);
    }
    made.add(folder);
  };
  const requirePath = (digest: Sha256): string => {
    const path = pathOf(digest);
    if (!existsSync(path))
      throw new LockstepError(
        'INPUT_GONE',
        `sha256:${digest} is not in the content store`,
        'Fetch it again with "lockstep lock", or restore the store from a backup.',
      );
    return path;
  };
  const corrupt = (digest: Sha256): LockstepError =>
    new LockstepError(
      'STORE_CORRUPT',
      `The stored bytes of sha256:${digest} have changed`,
      `Check the disk; then delete ${pathOf(digest)} and fetch again.`,
    );
  const blobs: Blobs = {
    path: pathOf,
    has: (digest) => existsSync(pathOf(digest)),
    size: (digest) => statSync(pathOf(digest), { throwIfNoEntry: false })?.size ?? null,
    read(digest) {
      const bytes = readFileSync(requirePath(digest));
      if (sha256Hex(bytes) !== digest) throw corrupt(digest);
      return bytes;
    },
    put(bytes) {
      const data = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
      const digest = createHash('sha256').update(data).digest('hex') as Sha256;
      if (blobs.has(digest)) return digest;
      ensureFolder(pathOf(digest));
      createDurably(pathOf(digest), data, 0o444, incoming());
      return digest;
    },
    adopt(path, known) {
      const digest = known ?? sha256File(path).digest;
      if (blobs.has(digest)) {
        rmSync(path);
        return digest;
      }
      ensureFolder(pathOf(digest));
      chmodSync(path, 0o444);
      const target = incoming();
      moveFile(path, target);
      syncFile(target);
      renameSync(target, pathOf(digest));
      syncFolder(dirname(pathOf(digest)));
      return digest;
    },
    materialise(digest, target) {
      const path = requirePath(digest);
      if (sha256File(path).digest !== digest) throw corrupt(digest);
      try {
        linkSync(path, target);
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && (error.code === 'EXDEV' || error.code === 'EMLINK' || error.code === 'EPERM')))
          throw error;
        blobs.copyOut(digest, target, 0o444);
      }
    },
    copyOut(digest, target, mode = 0o644) {
      const temporary = temporaryName(target);
      try {
        copyFileSync(requirePath(digest), temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
        if (sha256File(temporary).digest !== digest) throw corrupt(digest);
        chmodSync(temporary, mode);
        renameSync(temporary, target);
      } finally {
        rmSync(temporary, { force: true });
      }
    },
    list() {
      return readdirSync(root)
        .filter((name) => name.length === 2 && lstatSync(`${root}/${name}`).isDirectory())
        .flatMap((name) => readdirSync(`${root}/${name}`).map((rest) => name + rest))
        .filter(isSha256);
    },
  };
  return blobs;
}

function moveFile(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EXDEV')) throw error;
    copyFileSync(from, to, constants.COPYFILE_EXCL);
    rmSync(from);
  }
}

function syncFile(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
