/**
 * A local directory as source: packed by the silo into a canonical tar. Its digest is remembered by what the file system
 * says about every file (size, inode, change time), as git's index does, so that an unchanged directory is not read again.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, realpathSync } from 'node:fs';
import { isSha256, type Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Context } from '../context.ts';
import { NEUTRAL_DATE } from '../silo/job.ts';
import type { FetchedSource } from './fetched.ts';

/** Not source: version control, the lock itself (it holds this digest), and what builds leave behind. */
export const ALWAYS_EXCLUDED = ['.git', 'lockstep.lock', 'lockstep-out'];

/** A file changed within this many milliseconds may change again without a new change time. */
const RACY_MS = 2000;

export function fetchDirectory(context: Context, project: string, path: string, exclude: readonly string[]): FetchedSource {
  if (!existsSync(path) || !lstatSync(realpathSync(path)).isDirectory())
    throw new LockstepError(
      'FILE_NOT_FOUND',
      `The source directory ${path} does not exist`,
      'Correct source.ref; it is relative to the manifest.',
    );
  const directory = realpathSync(path);
  refuseOutside(context, realpathSync(project), directory);
  const { sha256, size } = packCached(context, directory, [...ALWAYS_EXCLUDED, ...exclude]);
  return {
    ref: 'directory',
    files: [{ uri: 'directory', sha256, size, to: '.', as: 'tree', strip: 0, fetched: null }],
    date: NEUTRAL_DATE,
    dateFrom: '1980-01-01, since a directory has no date of its own',
    git: null,
    annotatedTag: null,
    warnings: [],
  };
}

/** A manifest is foreign data: it may name its own directory or one within, and never this program's keys and store. */
function refuseOutside(context: Context, project: string, directory: string): void {
  const within = (inner: string, outer: string): boolean => inner === outer || inner.startsWith(`${outer.replace(/\/$/, '')}/`);
  const store = realpathSync(context.store.root);
  if (within(directory, store) || within(store, directory))
    throw new LockstepError(
      'FETCH_REFUSED',
      `${directory} holds the content store and its keys, or lies within`,
      'Move the project out of LOCKSTEP_HOME.',
    );
  if (!within(directory, project))
    throw new LockstepError(
      'FETCH_REFUSED',
      `The source directory ${directory} lies outside of ${project}`,
      'Put lockstep.toml into the source directory, or above it.',
    );
}

function packCached(context: Context, directory: string, exclude: readonly string[]): { sha256: Sha256; size: number } {
  const { cells, blobs } = context.store;
  const cell = `directory-${createHash('sha256')
    .update(`${directory}\0${exclude.join('\0')}`)
    .digest('hex')
    .slice(0, 32)}`;
  const { fingerprint, racy } = fingerprintOf(directory, new Set(exclude));
  const old = cells.get(cell);
  const [was, digest = ''] = (old ?? '').split(' ');
  const known = isSha256(digest) ? blobs.size(digest) : null;
  if (was === fingerprint && isSha256(digest) && known !== null) return { sha256: digest, size: known };
  const packed = pack(context, directory, exclude);
  if (!racy) cells.swap(cell, old, `${fingerprint} ${packed.sha256}`);
  return packed;
}

function pack(context: Context, directory: string, exclude: readonly string[]): { sha256: Sha256; size: number } {
  const scratch = context.store.newScratch();
  try {
    const tar = `${scratch}/source.tar`;
    const run = spawnSync(context.settings.silo, ['pack', directory, tar, ...exclude.flatMap((name) => ['--exclude', name])], {
      encoding: 'utf8',
      env: { PATH: '/usr/bin:/bin', LOCKSTEP_NODE: process.execPath },
    });
    if (run.status !== 0)
      throw new LockstepError(
        'FETCH_REFUSED',
        `${directory} cannot be a source: ${run.stderr.replace(/^lockstep-silo: /, '').trim()}`,
        'Remove what is refused, or leave it out with source.exclude.',
      );
    const packed = JSON.parse(run.stdout) as { sha256: string; size: number };
    return { sha256: context.store.blobs.adopt(tar), size: packed.size };
  } finally {
    context.store.dropScratch(scratch);
  }
}

function fingerprintOf(directory: string, exclude: ReadonlySet<string>): { fingerprint: string; racy: boolean } {
  const hash = createHash('sha256');
  let newest = 0;
  const visit = (path: string, top: boolean): void => {
    for (const entry of readdirSync(path, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (top && exclude.has(entry.name)) continue;
      const full = `${path}/${entry.name}`;
      const stat = lstatSync(full, { bigint: true });
      newest = Math.max(newest, Number(stat.ctimeMs));
      hash.update(`${full}\0${stat.mode} ${stat.size} ${stat.ino} ${stat.ctimeNs}\0`);
      if (entry.isDirectory()) visit(full, false);
    }
  };
  visit(directory, true);
  return { fingerprint: hash.digest('hex'), racy: Date.now() - newest < RACY_MS };
}
