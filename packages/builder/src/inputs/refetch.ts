/** Fetches one locked file again from where the lock says it comes from. */
import type { Definition } from '@lockstep/protocol/definition/definition';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { LockedFile } from '@lockstep/protocol/lock/lock';
import { parsePackageUrl } from '@lockstep/protocol/source-ref/package-url';
import { isProblem, parseSourceRef } from '@lockstep/protocol/source-ref/source-ref';
import type { Context, ProgressItem } from '../context.ts';
import { openArchive } from '../fetch/apt.ts';
import { checkIntegrityHex, downloadNpm } from '../fetch/npm.ts';
import { fetchArchive } from '../source/archive.ts';
import { fetchDebianSource } from '../source/debian.ts';
import { fetchGit } from '../source/git.ts';
import { unpackArchives } from '../source/unpack.ts';

/** @returns digests of everything that was fetched along with `file` */
export async function refetch(context: Context, definition: Definition, file: LockedFile, item: ProgressItem): Promise<readonly string[]> {
  const gone = (hint: string): LockstepError =>
    new LockstepError('INPUT_GONE', `${file.uri} (sha256:${file.sha256}) is not in the content store and cannot be fetched again`, hint);
  const scratchMb = definition.manifest.resources.scratch_mb;
  if (context.settings.offline) throw gone('Run once without --offline, so that it is fetched and kept, or restore the content store.');
  if (file.uri === 'directory') throw gone('The source was a local directory. Build where it is, or run "lockstep lock" there again.');
  if (file.uri.startsWith('https://')) {
    const sha256 = file.fetched?.digest ?? file.sha256;
    return [
      (await fetchArchive(context, { url: file.uri, sha256, to: file.to, unpack: file.as === 'tree', strip: file.strip, scratchMb })).file
        .sha256,
    ];
  }
  const purl = parsePackageUrl(file.uri);
  if (purl?.type === 'npm')
    return refetchNpm(context, file, purl.namespace === '' ? purl.name : `${purl.namespace}/${purl.name}`, purl.version ?? '', scratchMb);
  if (purl?.type === 'deb') {
    const { environment } = definition.lock;
    if (environment.kind !== 'debian') throw gone('Its environment names no Debian suite.');
    return (await fetchDebianSource(context, await openArchive(context, environment.suite, true), purl)).files.map((one) => one.sha256);
  }
  const source = parseSourceRef(file.uri);
  if (!isProblem(source) && source.kind === 'git') {
    const { git } = definition.lock.source;
    const fetched = await fetchGit(context, source, item);
    if (fetched.git?.commit !== git?.commit || fetched.git?.tree !== git?.tree || fetched.git?.tag !== git?.tag) {
      throw new LockstepError(
        'SOURCE_CHANGED',
        `${file.uri} is now commit ${fetched.git?.commit}, the lock says ${git?.commit}`,
        'A tag was moved. Find out why before you lock again.',
      );
    }
    return fetched.files.map((one) => one.sha256);
  }
  // What the program generates itself (cargo's checksum files), and crates, are in the store or are locked again.
  if (context.store.blobs.has(file.sha256 as Sha256)) return [file.sha256];
  throw gone('Restore the content store, or run "lockstep lock".');
}

async function refetchNpm(
  context: Context,
  file: LockedFile,
  name: string,
  version: string,
  scratchMb: number,
): Promise<readonly string[]> {
  const scratch = context.store.newScratch();
  try {
    const spec = `${name}@${version}`;
    const path = (await downloadNpm(context, [spec], scratch)).get(spec) ?? '';
    checkIntegrityHex(path, file.fetched?.digest ?? '', spec);
    return (await unpackArchives(context, [context.store.blobs.adopt(path)], scratchMb)).map((one) => one.sha256);
  } finally {
    context.store.dropScratch(scratch);
  }
}
