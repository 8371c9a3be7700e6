/** One folder with all that a builder keeps: blobs, cells, prepared environments, scratches of running builds. */
import { accessSync, chmodSync, constants, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type Blobs, folderBlobs } from './folder-blobs.ts';
import { type Cells, folderCells } from './cells.ts';
import { ownerLives, ownerTag } from './owner.ts';
import { sweepParts } from './sweep.ts';

export interface Store {
  readonly root: string;
  readonly blobs: Blobs;
  readonly cells: Cells;
  /** Folder of prepared environments, one image per lock digest. */
  readonly environments: string;
  readonly keys: string;
  /** A new empty scratch that belongs to this process; swept by a later run if this one dies. */
  newScratch(): string;
  dropScratch(path: string): void;
}

export function defaultStorePath(env: Readonly<Record<string, string | undefined>>): string {
  return env['LOCKSTEP_HOME'] ?? `${env['XDG_DATA_HOME'] ?? `${homedir()}/.local/share`}/lockstep`;
}

/** @throws LockstepError STORE_UNUSABLE */
export function openStore(root: string): Store {
  try {
    for (const name of ['blobs', 'cells', 'environments', 'keys', 'scratch'])
      mkdirSync(`${root}/${name}`, { recursive: true, mode: name === 'keys' ? 0o700 : 0o755 });
    accessSync(root, constants.W_OK);
    // It holds sources and outputs of everybody who builds here.
    chmodSync(root, 0o700);
  } catch (error) {
    throw new LockstepError(
      'STORE_UNUSABLE',
      `The store ${root} cannot be used: ${error instanceof Error ? error.message : String(error)}`,
      'Set LOCKSTEP_HOME to a folder that you can write to.',
    );
  }
  sweep(`${root}/scratch`);
  for (const name of ['environments', 'blobs', 'cells', 'keys']) sweepParts(`${root}/${name}`);
  return {
    root,
    blobs: folderBlobs(`${root}/blobs`),
    cells: folderCells(`${root}/cells`),
    environments: `${root}/environments`,
    keys: `${root}/keys`,
    newScratch() {
      const path = `${root}/scratch/${ownerTag()}`;
      mkdirSync(`${path}/inputs`, { recursive: true });
      return path;
    },
    dropScratch: (path) => rmSync(path, { recursive: true, force: true }),
  };
}

/** Scratches of processes that are gone. */
function sweep(folder: string): void {
  for (const name of readdirSync(folder)) {
    if (ownerLives(name) === false) removeIfPossible(`${folder}/${name}`);
  }
}

/** What dies with it may still write for a moment: then the next sweep has it. */
function removeIfPossible(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true, maxRetries: 3, retryDelay: 50 });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && (error.code === 'ENOTEMPTY' || error.code === 'EBUSY'))) throw error;
  }
}
