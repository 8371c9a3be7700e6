/** Reads one file out of a canonical tar in the content store, by running tar over bytes that the silo itself wrote. */
import { spawnSync } from 'node:child_process';
import { dirname, posix, resolve } from 'node:path';
import { existsSync, readFileSync } from 'node:fs';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Context } from '../context.ts';
import type { FetchedSource } from '../source/fetched.ts';

const MAX_BYTES = 64 << 20;

/**
 * A lock file of another tool: from the source, or beside the manifest where the source does not carry one.
 * @throws LockstepError FILE_NOT_FOUND
 */
export function readFromSource(context: Context, source: FetchedSource, path: string, manifestFile: string): Buffer {
  const tree = source.files.find((file) => file.as === 'tree' && file.to === '.');
  if (tree !== undefined) {
    const tar = context.store.blobs.path(tree.sha256 as Sha256);
    const clean = posix.normalize(path);
    const wanted = tree.strip === 0 ? [clean] : ['--wildcards', `${'*/'.repeat(tree.strip)}${clean}`];
    const run = spawnSync('tar', ['-xOf', tar, '--no-wildcards-match-slash', ...wanted], { maxBuffer: MAX_BYTES });
    if (run.status === 0 && run.stdout.length > 0) return run.stdout;
  }
  const beside = resolve(dirname(manifestFile), path);
  if (existsSync(beside)) return readFileSync(beside);
  throw new LockstepError('FILE_NOT_FOUND', `${path} is neither in the source nor beside the manifest`, 'Correct the path in [[inputs]].');
}
