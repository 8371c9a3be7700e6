/** A lock file of another tool: out of a canonical tar in the content store, or beside the manifest. */
import { closeSync, constants, fstatSync, openSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, posix, resolve } from 'node:path';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { openRandomAccess } from '../compare/random-access.ts';
import { findTarMember } from '../compare/tar.ts';
import type { Context } from '../context.ts';
import type { FetchedSource } from '../source/fetched.ts';

const MAX_BYTES = 64 << 20;

/**
 * From the source, or beside the manifest where the source does not carry one.
 * @throws LockstepError FILE_NOT_FOUND, FETCH_REFUSED
 */
export function readFromSource(context: Context, source: FetchedSource, path: string, manifestFile: string): Buffer {
  const tree = source.files.find((file) => file.as === 'tree' && file.to === '.');
  const clean = posix.normalize(path);
  const inSource = tree === undefined ? null : readMember(context.store.blobs.path(tree.sha256 as Sha256), clean, tree.strip);
  return inSource ?? readBeside(dirname(resolve(manifestFile)), clean, path);
}

function readMember(tar: string, name: string, strip: number): Buffer | null {
  const { file, close } = openRandomAccess(tar);
  try {
    const found = findTarMember(file, (member) => member.split('/').slice(strip).join('/') === name);
    return found === null || found.size > MAX_BYTES ? null : file.read(found.start, found.size);
  } finally {
    close();
  }
}

/** A regular file within the project: a link there could name any file of this machine. */
function readBeside(folder: string, clean: string, shown: string): Buffer {
  const missing = new LockstepError(
    'FILE_NOT_FOUND',
    `${shown} is neither in the source nor beside the manifest`,
    'Correct the path in [[inputs]].',
  );
  let fd: number;
  try {
    if (!realpathSync(`${folder}/${clean}`).startsWith(`${realpathSync(folder)}/`))
      throw new LockstepError('FETCH_REFUSED', `${shown} leads out of the project`, 'Put the file itself into the project.');
    fd = openSync(`${folder}/${clean}`, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    throw error instanceof LockstepError ? error : missing;
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile() || stat.size > MAX_BYTES)
      throw new LockstepError(
        'FETCH_REFUSED',
        `${shown} is not a regular file of at most 64 MiB`,
        'Put the lock file itself into the project.',
      );
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}
