/** Finds and reads the manifest and the lock of a directory. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { type Definition, makeDefinition } from '@lockstep/protocol/definition/definition';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { lockProblem } from '@lockstep/protocol/lock/consistency';
import { type Lock, parseLock, requireFresh } from '@lockstep/protocol/lock/lock';
import type { Manifest } from '@lockstep/protocol/manifest/manifest';
import { MAX_MANIFEST_BYTES, parseManifest } from '@lockstep/protocol/manifest/toml';

export interface Project {
  readonly folder: string;
  readonly manifestFile: string;
  readonly lockFile: string;
  readonly manifest: Manifest;
}

/** A path as a person would write it: relative where it lies below, else absolute. */
export function shownPath(path: string): string {
  const near = relative('.', path);
  return near.startsWith('..') ? resolve(path) : near;
}

/** @param where a directory, or a manifest file */
export function readProject(where: string): Project {
  if (!existsSync(where))
    throw new LockstepError(
      'FILE_NOT_FOUND',
      `${where} does not exist`,
      'Give a directory with a lockstep.toml, or run "lockstep init" in one.',
    );
  const isFolder = statSync(where).isDirectory();
  const manifestFile = isFolder ? join(where, 'lockstep.toml') : where;
  const folder = isFolder ? where : join(where, '..');
  if (!existsSync(manifestFile))
    throw new LockstepError('FILE_NOT_FOUND', `There is no lockstep.toml in ${where}`, 'Run "lockstep init" there to write one.');
  const shown = shownPath(manifestFile);
  if (statSync(manifestFile).size > MAX_MANIFEST_BYTES)
    throw new LockstepError('MANIFEST_TOO_LARGE', `${shown} is larger than 1 MiB`, 'Move long scripts into files of the source.');
  return {
    folder,
    manifestFile,
    lockFile: join(folder, 'lockstep.lock'),
    manifest: parseManifest(readFileSync(manifestFile, 'utf8'), shown),
  };
}

export function readLock(project: Project): Lock {
  const shown = shownPath(project.lockFile);
  if (!existsSync(project.lockFile)) {
    throw new LockstepError(
      'LOCK_MISSING',
      `There is no ${shown}: the inputs are not pinned`,
      `Run "lockstep lock${project.folder === '.' ? '' : ` ${shownPath(project.folder)}`}".`,
      { at: { file: shown, line: 1, column: 1 } },
    );
  }
  const lock = parseLock(readFileSync(project.lockFile), shown);
  requireFresh(lock, project.manifest, shown);
  return lock;
}

export function readDefinition(project: Project): Definition {
  const lock = readLock(project);
  const problem = lockProblem(project.manifest, lock);
  if (problem !== null)
    throw new LockstepError('LOCK_INVALID', `The lock does not fit the manifest: ${problem}`, 'Run "lockstep lock --update".', {
      at: { file: shownPath(project.lockFile), line: 1, column: 1 },
    });
  return makeDefinition(project.manifest, lock);
}
