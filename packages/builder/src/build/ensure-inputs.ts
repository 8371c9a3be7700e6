/** Brings every locked file into the content store again when it is not there: from the origin, checked against the lock. */
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Definition } from '@lockstep/protocol/definition/definition';
import type { LockedFile } from '@lockstep/protocol/lock/lock';
import { parsePackageUrl } from '@lockstep/protocol/source-ref/package-url';
import { isProblem, parseSourceRef } from '@lockstep/protocol/source-ref/source-ref';
import { type Context, type ProgressItem, step } from '../context.ts';
import { openArchive } from '../fetch/apt.ts';
import { checkIntegrityHex, downloadNpm } from '../fetch/npm.ts';
import { fetchArchive } from '../source/archive.ts';
import { fetchDebianSource } from '../source/debian.ts';
import { fetchGit } from '../source/git.ts';
import { unpackArchives } from '../source/unpack.ts';

/** @throws LockstepError INPUT_GONE, SOURCE_CHANGED, DIGEST_MISMATCH */
export async function ensureInputs(context: Context, definition: Definition): Promise<void> {
  const files = [...definition.lock.source.files, ...definition.lock.inputs];
  const missing = (): LockedFile[] => files.filter((file) => !context.store.blobs.has(file.sha256 as Sha256));
  if (missing().length === 0) return;
  await step(context, 'fetch inputs that are not in the content store', async (item) => {
    for (const file of missing()) {
      if (context.store.blobs.has(file.sha256 as Sha256)) continue;
      item.update(file.uri);
      await refetch(context, definition, file, item);
    }
  });
  const changed = missing()[0];
  if (changed !== undefined)
    throw new LockstepError(
      'SOURCE_CHANGED',
      `${changed.uri} no longer gives the bytes that were locked (sha256:${changed.sha256})`,
      'Find out why. If the new bytes are the right ones, run "lockstep lock".',
    );
}

async function refetch(context: Context, definition: Definition, file: LockedFile, item: ProgressItem): Promise<void> {
  const gone = (hint: string): LockstepError =>
    new LockstepError('INPUT_GONE', `${file.uri} (sha256:${file.sha256}) is not in the content store and cannot be fetched again`, hint);
  if (context.settings.offline) throw gone('Run without --offline, or restore the content store.');
  if (file.uri === 'directory') throw gone('The source was a local directory. Build where it is, or run "lockstep lock" there again.');
  if (file.uri.startsWith('https://')) {
    await fetchArchive(context, {
      url: file.uri,
      sha256: file.fetched?.digest ?? file.sha256,
      to: file.to,
      unpack: file.as === 'tree',
      strip: file.strip,
      scratchMb: definition.manifest.resources.scratch_mb,
    });
    return;
  }
  const purl = parsePackageUrl(file.uri);
  if (purl?.type === 'npm') {
    await refetchNpm(
      context,
      file,
      purl.namespace === '' ? purl.name : `${purl.namespace}/${purl.name}`,
      purl.version ?? '',
      definition.manifest.resources.scratch_mb,
    );
    return;
  }
  if (purl?.type === 'deb') {
    const { environment } = definition.lock;
    if (environment.kind !== 'debian') throw gone('Its environment names no Debian suite.');
    await fetchDebianSource(context, await openArchive(context, environment.suite, true), purl);
    return;
  }
  const source = parseSourceRef(file.uri);
  if (!isProblem(source) && source.kind === 'git') {
    const commit = definition.lock.source.git?.commit;
    const fetched = await fetchGit(context, source, item);
    if (fetched.git?.commit !== commit)
      throw new LockstepError(
        'SOURCE_CHANGED',
        `${file.uri} is now commit ${fetched.git?.commit}, the lock says ${commit}`,
        'A tag was moved. Find out why before you lock again.',
      );
    return;
  }
  throw gone('Restore the content store, or run "lockstep lock".');
}

async function refetchNpm(context: Context, file: LockedFile, name: string, version: string, scratchMb: number): Promise<void> {
  const scratch = context.store.newScratch();
  try {
    const spec = `${name}@${version}`;
    const path = (await downloadNpm(context, [spec], scratch)).get(spec) ?? '';
    checkIntegrityHex(path, file.fetched?.digest ?? '', spec);
    await unpackArchives(context, [context.store.blobs.adopt(path)], scratchMb);
  } finally {
    context.store.dropScratch(scratch);
  }
}
