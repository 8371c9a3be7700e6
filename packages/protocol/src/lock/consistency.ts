/**
 * Whether a lock can be a lock of this manifest: every reference, digest and place in it has to follow from what the
 * manifest asks for. A lock is data; without this it could name one source and hold the bytes of another.
 */
import type { Manifest } from '../manifest/manifest.ts';
import { isProblem, parseSourceRef, refFits, type SourceRef } from '../source-ref/source-ref.ts';
import { type Lock, type LockedFile, resolvesDigest } from './lock.ts';

/** What does not fit, in words, or null. */
export function lockProblem(manifest: Manifest, lock: Lock): string | null {
  if (lock.resolves !== resolvesDigest(manifest)) return 'the lock is of another manifest';
  const { source } = lock;
  if (!refFits(manifest.source.ref, source.ref)) return `the manifest names ${manifest.source.ref}, the lock ${source.ref}`;
  const parsed = parseSourceRef(manifest.source.ref);
  if (isProblem(parsed)) return 'the source reference is malformed';
  if (manifest.environment.kind !== lock.environment.kind) return 'the environment is of another kind';
  if (
    manifest.environment.kind === 'rootfs' &&
    lock.environment.kind === 'rootfs' &&
    manifest.environment.sha256 !== lock.environment.sha256
  )
    return 'the root file system has another digest';
  return sourceProblem(manifest, lock, parsed) ?? inputsProblem(manifest, lock);
}

function sourceProblem(manifest: Manifest, lock: Lock, parsed: SourceRef): string | null {
  const { files, git, ref } = lock.source;
  const only = files.length === 1 ? files[0] : undefined;
  if ((git !== null) !== (parsed.kind === 'git')) return 'the lock has git ids for what is no git source, or none for one';
  const uri = parsed.kind === 'directory' ? 'directory' : ref;
  if (files.some((file) => file.uri !== uri)) return 'a file of the source has another origin than the source';
  if (parsed.kind === 'package' && parsed.purl.type === 'deb') return null;
  if (only === undefined) return 'the source has more than one file';
  if (parsed.kind === 'git')
    return only.fetched?.algorithm === 'gitCommit' && only.fetched.digest === git?.commit && only.to === '.' && only.as === 'tree'
      ? null
      : 'the tree is not that of the commit';
  if (parsed.kind === 'https')
    return fetchedDigest(only) === manifest.source.sha256 ? null : 'the source has another digest than the manifest names';
  return null;
}

/** Of the bytes as they were served. */
function fetchedDigest(file: LockedFile): string {
  return file.fetched?.digest ?? file.sha256;
}

function inputsProblem(manifest: Manifest, lock: Lock): string | null {
  const wanted = manifest.inputs.flatMap((input) => ('file' in input ? [input] : []));
  const missing = wanted.find(
    (input) => !lock.inputs.some((file) => file.uri === input.file && fetchedDigest(file) === input.sha256 && file.to === input.to),
  );
  if (missing !== undefined) return `the lock lacks the input ${missing.file}`;
  const stray = lock.inputs.find((file) => !manifest.inputs.some((input) => mayGive(input, file)));
  return stray === undefined ? null : `the manifest asks for no input ${stray.uri} at ${stray.to}`;
}

function mayGive(input: Manifest['inputs'][number], file: LockedFile): boolean {
  if ('file' in input) return file.uri === input.file && fetchedDigest(file) === input.sha256 && file.to === input.to;
  const below = file.to.startsWith(`${input.to}/`);
  if ('npm_lock' in input) return below && file.uri.startsWith('pkg:npm/');
  return (below && file.uri.startsWith('pkg:cargo/')) || (file.uri === 'generated:cargo-config' && file.to === '.cargo/config.toml');
}
