/** A lock of a local directory holds its digest: refuse to build something else than what was locked. */
import { dirname, resolve } from 'node:path';
import type { Definition } from '@lockstep/protocol/definition/definition';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Context } from '../context.ts';
import { fetchDirectory } from '../source/directory.ts';

/** @throws LockstepError SOURCE_CHANGED */
export function requireUnchanged(context: Context, definition: Definition, manifestFile: string): void {
  if (definition.lock.source.ref !== 'directory') return;
  const { source } = definition.manifest;
  const now = fetchDirectory(context, dirname(resolve(manifestFile)), resolve(dirname(manifestFile), source.ref), source.exclude).files[0]
    ?.sha256;
  const locked = definition.lock.source.files[0]?.sha256;
  if (now !== locked)
    throw new LockstepError(
      'SOURCE_CHANGED',
      `The source directory has changed since it was locked (sha256:${locked})`,
      'Run "lockstep lock" again.',
    );
}
