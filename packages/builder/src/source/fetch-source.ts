/** From a manifest's source to bytes in the content store: one fetcher for each kind of reference. */
import { dirname, resolve } from 'node:path';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Manifest } from '@lockstep/protocol/manifest/manifest';
import { isProblem, parseSourceRef, type SourceRef } from '@lockstep/protocol/source-ref/source-ref';
import type { Context, ProgressItem } from '../context.ts';
import type { Archive } from '../fetch/apt.ts';
import { fetchArchive } from './archive.ts';
import { fetchDebianSource } from './debian.ts';
import { fetchDirectory } from './directory.ts';
import type { FetchedSource } from './fetched.ts';
import { fetchGit } from './git.ts';
import { fetchNpmSource } from './npm.ts';

export function readSourceRef(text: string): SourceRef {
  const parsed = parseSourceRef(text);
  if (isProblem(parsed))
    throw new LockstepError('SOURCE_REF_INVALID', `${JSON.stringify(text.slice(0, 200))}: expected ${parsed.expected}`, parsed.hint);
  return parsed;
}

/** @param archive for Debian sources. @param manifestFile directories are relative to it */
export async function fetchSource(
  context: Context,
  manifest: Manifest,
  manifestFile: string,
  archive: (() => Promise<Archive>) | null,
  item: ProgressItem,
): Promise<FetchedSource> {
  const spec = manifest.source;
  const scratchMb = manifest.resources.scratch_mb;
  const source = readSourceRef(spec.ref);
  if (spec.sha256 !== null && source.kind !== 'https') {
    throw new LockstepError(
      'MANIFEST_INVALID',
      `source.sha256 is for https sources; ${spec.ref} is pinned by the lock`,
      'Remove source.sha256: "lockstep lock" records the digest of this kind of source.',
    );
  }
  if (source.kind === 'git') return fetchGit(context, source, item);
  if (source.kind === 'directory')
    return fetchDirectory(context, dirname(resolve(manifestFile)), resolve(dirname(manifestFile), source.path), spec.exclude);
  if (source.kind === 'package') {
    if (source.purl.type === 'npm') return fetchNpmSource(context, source.purl, scratchMb);
    if (archive === null)
      throw new LockstepError(
        'MANIFEST_INVALID',
        'A Debian source package needs a Debian environment',
        'Set environment.kind = "debian" with a suite.',
      );
    return fetchDebianSource(context, await archive(), source.purl);
  }
  const name = new URL(source.url).pathname.split('/').at(-1) ?? 'source';
  const fetched = await fetchArchive(context, {
    url: source.url,
    sha256: spec.sha256,
    to: spec.unpack ? '.' : name,
    unpack: spec.unpack,
    strip: spec.strip,
    scratchMb,
  });
  return {
    ref: source.url,
    files: [fetched.file],
    date: fetched.newest,
    dateFrom: 'latest time in the archive',
    git: null,
    annotatedTag: null,
    warnings: [],
  };
}
