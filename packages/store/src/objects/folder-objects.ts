/**
 * Objects as files of a folder: `tree/` holds them (key-path.ts says where), `incoming/` what is being written, `locks/`
 * who is swapping. An object appears by rename or link of a file that is on the disk, and the folder is flushed before
 * anybody is told.
 *
 * `swapIf`, `put` and `remove` take the key's lock, since a compare-and-swap means nothing if something else may replace
 * the bytes between; `create` needs none, since a link never replaces. The lock's owner is known by its process id: all
 * writers have to be on one machine and see one another's ids.
 */
import { createHash } from 'node:crypto';
import { constants, linkSync, lstatSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { type FileHandle, lstat, open, readdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { syncFolder, temporaryName } from '../durable.ts';
import { withLock } from '../lock-file.ts';
import { sweepParts } from '../sweep.ts';
import { diskError, isMissing, isThere } from './disk-error.ts';
import { exactSize } from './exact-size.ts';
import { type KeyEntry, pathOfKey, readEntry } from './key-path.ts';
import { endedEarly, objectGone, objectTooLarge, sentOtherSize } from './objects-error.ts';
import { type Content, isObjectKey, type ListedObject, type Objects } from './objects.ts';
import { requireKey, requirePrefix, requireRange } from './require-key.ts';

/** Bytes that a copy holds at a time. */
const CHUNK = 1 << 20;
/** Files asked about at once while listing. */
const LIST_BATCH = 64;
/** Folders remembered as being on the disk; beyond that they are flushed once more. */
const REMEMBERED_FOLDERS = 10_000;

/** @throws LockstepError STORE_UNUSABLE */
export function folderObjects(root: string): Objects {
  const name = `folder ${root}`;
  const tree = `${root}/tree`;
  const locks = `${root}/locks`;
  const failed = (error: unknown): unknown => diskError(name, error);
  prepare(root, failed);
  const ensureFolder = folderMaker(tree);
  const pathOf = (key: string): string => `${tree}/${pathOfKey(requireKey(key))}`;
  const locked = <T>(key: string, act: () => T): T =>
    attemptSync(failed, () => withLock(`${locks}/${createHash('sha256').update(key).digest('hex')}.lock`, act));

  /** A new file in incoming/, whole and on the disk, handed to `place`; gone afterwards if it was not taken. */
  const written = async <T>(fill: (file: FileHandle) => Promise<void>, place: (temporary: string) => T): Promise<T> => {
    const temporary = temporaryName(`${root}/incoming/new`);
    try {
      const file = await attempt(
        failed,
        open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600),
      );
      try {
        await fill(file);
        await attempt(failed, file.sync());
      } finally {
        await file.close();
      }
      return attemptSync(failed, () => place(temporary));
    } finally {
      await rm(temporary, { force: true });
    }
  };
  const write = async (file: FileHandle, source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void> => {
    for await (const bytes of source)
      for (let done = 0; done < bytes.length; ) done += (await attempt(failed, file.write(bytes, done))).bytesWritten;
  };
  const replace = (temporary: string, path: string): void => {
    ensureFolder(path);
    renameSync(temporary, path);
    syncFolder(dirname(path));
  };
  /** @returns whether there was none */
  const link = (temporary: string, path: string): boolean => {
    ensureFolder(path);
    try {
      linkSync(temporary, path);
    } catch (error) {
      if (isThere(error)) return false;
      throw error;
    }
    syncFolder(dirname(path));
    return true;
  };
  /** null when there is none. */
  const reading = async (key: string): Promise<{ file: FileHandle; size: number } | null> => {
    const path = pathOf(key);
    try {
      const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
      return { file, size: (await file.stat()).size };
    } catch (error) {
      if (isMissing(error)) return null;
      throw failed(error);
    }
  };

  async function* walk(folder: string, before: string, prefix: string): AsyncGenerator<ListedObject> {
    const entries = (await namesIn(folder, failed))
      .map(readEntry)
      .filter(({ text }) => (before + text).startsWith(prefix) || prefix.startsWith(before + text))
      .sort((a, b) => (a.text < b.text ? -1 : 1));
    for (let at = 0; at < entries.length; at += LIST_BATCH)
      for (const { entry, stat } of await Promise.all(entries.slice(at, at + LIST_BATCH).map((entry) => look(folder, entry, failed)))) {
        const key = before + entry.text;
        if (entry.isFolder) yield* walk(`${folder}/${entry.name}`, key, prefix);
        else if (stat?.isFile() === true && isObjectKey(key) && key.startsWith(prefix))
          yield { key, size: stat.size, modified: Math.floor(stat.mtimeMs / 1000) };
      }
  }

  const objects: Objects = {
    name,
    async get(key, maxBytes) {
      const found = await reading(key);
      if (found === null) return null;
      try {
        if (found.size > maxBytes) throw objectTooLarge(name, key, found.size, maxBytes);
        const bytes = await attempt(failed, found.file.readFile());
        if (bytes.length !== found.size) throw endedEarly(name, key, bytes.length, found.size);
        return bytes;
      } finally {
        await found.file.close();
      }
    },
    async stream(key, range) {
      const { start, length } = requireRange(range ?? { start: 0, length: Number.MAX_SAFE_INTEGER });
      const found = await reading(key);
      if (found === null) return null;
      const size = Math.max(0, Math.min(length, found.size - start));
      return Readable.from(
        exactSize(readOut(found.file, start, size, failed), size, (seen) => endedEarly(name, key, seen, size)),
        { objectMode: false, highWaterMark: CHUNK },
      ).once('close', () => {
        // A reader that went away before the first byte never entered the generator.
        found.file.close().catch(() => undefined);
      });
    },
    async size(key) {
      try {
        return (await lstat(pathOf(key))).size;
      } catch (error) {
        if (isMissing(error)) return null;
        throw failed(error);
      }
    },
    async put(key, content) {
      const path = pathOf(key);
      await written(
        (file) => write(file, chunksOf(key, content)),
        (temporary) => locked(key, () => replace(temporary, path)),
      );
    },
    async create(key, bytes) {
      const path = pathOf(key);
      return await written(
        (file) => write(file, [bytes]),
        (temporary) => link(temporary, path),
      );
    },
    async swapIf(key, expected, next) {
      if (expected === null) return await objects.create(key, next);
      const path = pathOf(key);
      // Spares the writing when it is in vain; what counts is the comparison under the lock.
      if (!attemptSync(failed, () => holds(path, expected))) return false;
      return await written(
        (file) => write(file, [next]),
        (temporary) =>
          locked(key, () => {
            if (!holds(path, expected)) return false;
            replace(temporary, path);
            return true;
          }),
      );
    },
    async compose(key, parts) {
      const path = pathOf(key);
      await written(
        async (file) => {
          for (const part of parts) {
            const source = await objects.stream(part);
            if (source === null) throw objectGone(name, part);
            await write(file, source);
          }
        },
        (temporary) => locked(key, () => replace(temporary, path)),
      );
    },
    list: (prefix) => walk(tree, '', requirePrefix(prefix)),
    async remove(key) {
      const path = pathOf(key);
      await Promise.resolve();
      locked(key, () => {
        try {
          rmSync(path);
        } catch (error) {
          if (isMissing(error)) return;
          throw error;
        }
        syncFolder(dirname(path));
      });
    },
    close: () => Promise.resolve(),
  };
  return objects;
}

function prepare(root: string, failed: (error: unknown) => unknown): void {
  attemptSync(failed, () => {
    // Sources and outputs of everybody who builds here.
    for (const folder of ['tree', 'incoming', 'locks']) mkdirSync(`${root}/${folder}`, { recursive: true, mode: 0o700 });
    for (const folder of [root, dirname(root)]) syncFolder(folder);
    for (const folder of ['incoming', 'locks']) sweepParts(`${root}/${folder}`);
  });
}

/** Makes the folders above a file, and has each of them on the disk: also one that another process has only just made. */
function folderMaker(tree: string): (path: string) => void {
  const made = new Set([tree]);
  const ensure = (folder: string): void => {
    if (made.has(folder)) return;
    ensure(dirname(folder));
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    syncFolder(dirname(folder));
    if (made.size > REMEMBERED_FOLDERS) made.clear();
    made.add(tree).add(folder);
  };
  return (path) => ensure(dirname(path));
}

function holds(path: string, expected: Uint8Array): boolean {
  try {
    return lstatSync(path).size === expected.length && readFileSync(path).equals(expected);
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

function chunksOf(key: string, content: Content): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  if (content instanceof Uint8Array) return [content];
  return exactSize(content.stream, content.size, (seen) => sentOtherSize(key, seen, content.size));
}

async function* readOut(file: FileHandle, start: number, size: number, failed: (error: unknown) => unknown): AsyncGenerator<Uint8Array> {
  for (let done = 0; done < size; ) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK, size - done));
    const { bytesRead } = await attempt(failed, file.read(chunk, 0, chunk.length, start + done));
    if (bytesRead === 0) return;
    yield chunk.subarray(0, bytesRead);
    done += bytesRead;
  }
}

async function namesIn(folder: string, failed: (error: unknown) => unknown): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isMissing(error)) return [];
    throw failed(error);
  }
}

/** `stat` is null for a folder, and for what was removed since. */
async function look(folder: string, entry: KeyEntry, failed: (error: unknown) => unknown) {
  if (entry.isFolder) return { entry, stat: null };
  try {
    return { entry, stat: await lstat(`${folder}/${entry.name}`) };
  } catch (error) {
    if (isMissing(error)) return { entry, stat: null };
    throw failed(error);
  }
}

async function attempt<T>(failed: (error: unknown) => unknown, act: Promise<T>): Promise<T> {
  try {
    return await act;
  } catch (error) {
    throw failed(error);
  }
}

function attemptSync<T>(failed: (error: unknown) => unknown, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw failed(error);
  }
}
