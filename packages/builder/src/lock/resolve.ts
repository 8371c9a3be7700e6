/** `lockstep lock`: resolves every input of a manifest to digests and brings the bytes into the content store. */
import { readFileSync } from 'node:fs';
import { arch } from 'node:os';
import { dirname, resolve } from 'node:path';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type Lock, LOCK_SCHEMA, type LockedEnvironment, type LockedFile, resolvesDigest } from '@lockstep/protocol/lock/lock';
import type { Manifest } from '@lockstep/protocol/manifest/manifest';
import { sourceRefWarnings } from '@lockstep/protocol/source-ref/source-ref';
import { recordOrigin } from '../inputs/ensure-inputs.ts';
import { type Context, step } from '../context.ts';
import { ensurePackages } from '../environment/packages.ts';
import { fetchRootfs } from '../environment/rootfs.ts';
import { type Archive, hostSuite, openArchive, resolvePackages } from '../fetch/apt.ts';
import { lockCargoClosure, readCargoLock } from '../inputs/cargo-closure.ts';
import { lockNpmClosure, readNpmLock } from '../inputs/npm-closure.ts';
import { readFromSource } from '../inputs/tar-member.ts';
import { fetchArchive } from '../source/archive.ts';
import type { DebianSource } from '../source/debian.ts';
import type { FetchedSource } from '../source/fetched.ts';
import { refuseUnavailable } from './available.ts';
import { fetchSource, readSourceRef } from '../source/fetch-source.ts';

export async function resolveLock(context: Context, manifest: Manifest, manifestFile: string): Promise<Lock> {
  refuseUnavailable(manifest);
  const archive = lazyArchive(context, manifest);
  const source = await step(context, `fetch source ${manifest.source.ref}`, (item) =>
    fetchSource(context, manifest, manifestFile, archive, item),
  );
  for (const warning of [
    ...source.warnings,
    ...sourceRefWarnings(readSourceRef(manifest.source.ref), { annotatedTag: source.annotatedTag }),
  ])
    context.progress.warn(warning);
  const { files, links } = await resolveInputs(context, manifest, source, manifestFile);
  recordOrigin(context, [...source.files, ...files], source.git);
  const environment = await resolveEnvironment(context, manifest, source, manifestFile, archive);
  const fixedDate = manifest.build.source_date_epoch;
  return {
    schema: LOCK_SCHEMA,
    resolves: resolvesDigest(manifest),
    source: {
      ref: source.ref,
      files: source.files,
      date: fixedDate ?? clampDate(source.date),
      date_from: fixedDate === null ? source.dateFrom : 'build.source_date_epoch of the manifest',
      git: source.git,
    },
    environment,
    inputs: files,
    links,
  };
}

/** Dates that an archive format or a file system could not hold are as good as none. */
function clampDate(date: number): number {
  return Math.min(Math.max(0, date), 0xffff_ffff);
}

function lazyArchive(context: Context, manifest: Manifest): (() => Promise<Archive>) | null {
  const { environment } = manifest;
  if (environment.kind !== 'debian') return null;
  let opened: Promise<Archive> | null = null;
  return () => {
    opened ??= step(context, `read the package lists of ${environment.suite}`, () =>
      openArchive(context, suiteOf(environment.suite), true),
    );
    return opened;
  };
}

function suiteOf(suite: string): string {
  if (suite !== 'host') return suite;
  const found = hostSuite(readFileSync('/etc/os-release', 'utf8'));
  if (found === null)
    throw new LockstepError(
      'ENVIRONMENT_UNRESOLVED',
      'suite = "host", but /etc/os-release names no codename',
      'Name a suite, such as "bookworm".',
    );
  return found;
}

async function resolveEnvironment(
  context: Context,
  manifest: Manifest,
  source: FetchedSource,
  manifestFile: string,
  archive: (() => Promise<Archive>) | null,
): Promise<LockedEnvironment> {
  const spec = manifest.environment;
  if (spec.kind === 'host') {
    context.progress.warn('The environment is this machine itself: not pinned, good for trying things out, never releasable.');
    return { kind: 'host' };
  }
  if (spec.kind === 'rootfs') {
    const uri = spec.url.startsWith('https://') ? spec.url : resolve(dirname(manifestFile), spec.url);
    const size = await step(context, 'fetch root file system', async () => {
      const stored = context.store.blobs.size(spec.sha256 as never);
      if (stored !== null) return stored;
      const scratch = context.store.newScratch();
      try {
        return await fetchRootfs(context, uri, spec.sha256, `${scratch}/rootfs`);
      } finally {
        context.store.dropScratch(scratch);
      }
    });
    return { kind: 'rootfs', sha256: spec.sha256, size, uri: spec.url.startsWith('https://') ? spec.url : `sha256:${spec.sha256}` };
  }
  if (archive === null) throw new TypeError('a Debian environment has an archive');
  const opened = await archive();
  const needs = spec.build_depends ? buildDependencies(source) : { depends: [], conflicts: [] };
  const environment = await step(
    context,
    'resolve the environment',
    async (item): Promise<Extract<LockedEnvironment, { kind: 'debian' }>> => {
      const { all, bootstrap } = await resolvePackages(context, opened, [...spec.packages, ...needs.depends], needs.conflicts);
      const packages = all
        .map((one) => ({
          name: one.name,
          version: one.version,
          architecture: one.architecture,
          size: one.size,
          sha256: one.sha256,
          path: one.path,
          bootstrap: bootstrap.has(one.name),
        }))
        .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
      item.update(`${packages.length} packages`);
      return { kind: 'debian', distribution: opened.distribution, suite: opened.suite, architecture: opened.architecture, packages };
    },
  );
  await step(context, 'fetch packages', (item) => ensurePackages(context, environment, item));
  return environment;
}

function buildDependencies(source: FetchedSource): { depends: readonly string[]; conflicts: readonly string[] } {
  if (!isDebianSource(source))
    throw new LockstepError(
      'MANIFEST_INVALID',
      'build_depends = true needs a Debian source package',
      'Name the packages in environment.packages instead.',
    );
  return { depends: source.buildDepends, conflicts: source.buildConflicts };
}

function isDebianSource(source: FetchedSource): source is DebianSource {
  return 'buildDepends' in source;
}

async function resolveInputs(
  context: Context,
  manifest: Manifest,
  source: FetchedSource,
  manifestFile: string,
): Promise<{ files: LockedFile[]; links: Lock['links'][number][] }> {
  const files: LockedFile[] = [];
  const links: Lock['links'][number][] = [];
  const scratchMb = manifest.resources.scratch_mb;
  for (const input of manifest.inputs) {
    if ('file' in input) {
      const { file } = await step(context, `fetch ${input.file}`, () =>
        fetchArchive(context, { url: input.file, sha256: input.sha256, to: input.to, unpack: input.unpack, strip: input.strip, scratchMb }),
      );
      files.push(file);
    } else if ('npm_lock' in input) {
      const packages = readNpmLock(readFromSource(context, source, input.npm_lock, manifestFile), input.npm_lock, input.dev, npmPlatform());
      const closure = await step(context, `lock ${input.npm_lock}`, (item) => lockNpmClosure(context, packages, input.to, scratchMb, item));
      files.push(...closure.files);
      links.push(...closure.links);
    } else {
      const crates = readCargoLock(readFromSource(context, source, input.cargo_lock, manifestFile).toString('utf8'), input.cargo_lock);
      files.push(
        ...(await step(context, `lock ${input.cargo_lock}`, (item) =>
          lockCargoClosure(context, crates, input.to, process.env['LOCKSTEP_CARGO_DL'], scratchMb, item),
        )),
      );
    }
  }
  return { files, links };
}

function npmPlatform(): { os: string; cpu: string; libc: string } {
  return { os: 'linux', cpu: arch(), libc: 'glibc' };
}
