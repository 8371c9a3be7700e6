/**
 * Brings every locked file into the content store: what is missing, and what this store never fetched itself. A lock is
 * somebody's word; that a reference gives these bytes has to have been seen here once, or a lock could name one source
 * and hold the digest of another.
 */
import type { Definition } from '@lockstep/protocol/definition/definition';
import { type Sha256, sha256Hex } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { canonicalBytes } from '@lockstep/protocol/json/canonical';
import type { Json } from '@lockstep/protocol/json/parse';
import type { Lock, LockedFile } from '@lockstep/protocol/lock/lock';
import { type Context, step } from '../context.ts';

/** What the store remembers of having fetched: one cell for one list of references and digests. */
function originCell(files: readonly LockedFile[], git: Lock['source']['git']): string {
  return `origin-${sha256Hex(canonicalBytes(JSON.parse(JSON.stringify([files, git])) as Json))}`;
}

/** Called by whoever has just fetched these files from where they say they come from. */
export function recordOrigin(context: Context, files: readonly LockedFile[], git: Lock['source']['git']): void {
  const cell = originCell(files, git);
  context.store.cells.swap(cell, context.store.cells.get(cell), 'fetched');
}

/** @throws LockstepError INPUT_GONE, SOURCE_CHANGED, DIGEST_MISMATCH */
export async function ensureInputs(context: Context, definition: Definition): Promise<void> {
  const files = [...definition.lock.source.files, ...definition.lock.inputs];
  const whole = files.every((file) => context.store.blobs.has(file.sha256 as Sha256));
  // A directory claims no origin: its bytes are all that is known of it.
  if (
    whole &&
    (files.every((file) => file.uri === 'directory') || context.store.cells.get(originCell(files, definition.lock.source.git)) !== null)
  )
    return;
  await step(context, 'fetch inputs that this store has not fetched yet', async (item) => {
    // Loaded when it is needed: most builds find everything in the store, and start faster without a network stack.
    const { refetch } = await import('./refetch.ts');
    const fetched = new Set<string>();
    for (const file of files) {
      if (fetched.has(file.sha256) || (file.uri === 'directory' && context.store.blobs.has(file.sha256 as Sha256))) continue;
      item.update(file.uri);
      for (const digest of await refetch(context, definition, file, item)) fetched.add(digest);
      if (!fetched.has(file.sha256)) {
        throw new LockstepError(
          'SOURCE_CHANGED',
          `${file.uri} does not give the bytes that were locked (sha256:${file.sha256})`,
          'Find out why: either the origin has changed, or the lock is not to be trusted. If the new bytes are the right ones, run "lockstep lock".',
        );
      }
    }
  });
  recordOrigin(context, files, definition.lock.source.git);
}
