/** Brings every locked package into the content store: what is there stays, then the archive, then a snapshot archive. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { basename } from 'node:path';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { LockedEnvironment, LockedPackage } from '@lockstep/protocol/lock/lock';
import { sha256File } from '@lockstep/store/digests';
import type { Context, ProgressItem } from '../context.ts';
import { downloadPackages, indexEntries, moveDownloaded, openArchive } from '../fetch/apt.ts';
import { fetchHttps } from '../fetch/https.ts';
import { environmentKey } from './environment-key.ts';

type DebianEnvironment = Extract<LockedEnvironment, { kind: 'debian' }>;

/**
 * Brings them, and sees to it that each is what its name says: that the archive's signed index, or a snapshot's path, has
 * given this digest for this name and version to this store once. A digest alone could be of anything that is stored.
 * @throws LockstepError INPUT_GONE naming what cannot be had any more, with the way out
 */
export async function ensurePackages(context: Context, environment: DebianEnvironment, item: ProgressItem): Promise<void> {
  const { blobs, cells } = context.store;
  const cell = `packages-${environmentKey(environment)}`;
  const recorded = cells.get(cell) !== null;
  const trusted = new Set<string>(recorded ? environment.packages.map((one) => one.sha256) : await indexedDigests(context, environment));
  const wanted = (): LockedPackage[] => environment.packages.filter((one) => !trusted.has(one.sha256) || !blobs.has(one.sha256 as Sha256));
  if (wanted().length > 0) {
    const folder = context.store.newScratch();
    try {
      if (!context.settings.offline) {
        for (const digest of await fromArchive(context, environment, wanted(), folder, item)) trusted.add(digest);
        for (const base of context.settings.snapshots)
          for (const digest of await fromSnapshot(context, base, wanted(), folder)) trusted.add(digest);
      }
      const gone = wanted();
      if (gone.length > 0) throw goneError(context, gone);
    } finally {
      context.store.dropScratch(folder);
    }
  }
  if (!recorded) cells.swap(cell, null, 'checked');
}

/** Digests of those packages whose name, version and architecture the archive's index gives with this digest. */
async function indexedDigests(context: Context, environment: DebianEnvironment): Promise<string[]> {
  const archive = await openArchive(context, environment.suite, false);
  const known = await indexEntries(context, archive, environment.packages.map(specOf));
  return environment.packages.filter((one) => known.get(specOf(one))?.sha256 === one.sha256).map((one) => one.sha256);
}

function specOf(one: LockedPackage): string {
  return `${one.name}:${one.architecture}=${one.version}`;
}

async function fromArchive(
  context: Context,
  environment: DebianEnvironment,
  wanted: readonly LockedPackage[],
  scratch: string,
  item: ProgressItem,
): Promise<string[]> {
  const archive = await openArchive(context, environment.suite, false);
  const folder = `${scratch}/inputs`;
  mkdirSync(folder, { recursive: true });
  const bytes = wanted.reduce((sum, one) => sum + one.size, 0);
  item.update(`${wanted.length} packages, ${Math.ceil(bytes / (1 << 20))} MiB`);
  await downloadPackages(context, archive, wanted.map(specOf), folder);
  return wanted.flatMap((one) => {
    const path = `${scratch}/package.deb`;
    if (!moveDownloaded(folder, one, path)) return [];
    adoptChecked(context, path, one);
    return [one.sha256];
  });
}

async function fromSnapshot(context: Context, base: string, wanted: readonly LockedPackage[], scratch: string): Promise<string[]> {
  const got: string[] = [];
  for (const one of wanted) {
    const path = `${scratch}/snapshot.deb`;
    // The path is of the lock's making: it has to be that of a package of this name.
    if (!basename(one.path).startsWith(`${one.name}_`)) continue;
    rmSync(path, { force: true });
    try {
      await fetchHttps(context, `${base.replace(/\/$/, '')}/${one.path}`, path, { bytes: one.size, milliseconds: 600_000 });
    } catch (error) {
      if (error instanceof LockstepError && error.code === 'FETCH_FAILED') continue;
      throw error;
    }
    adoptChecked(context, path, one);
    got.push(one.sha256);
  }
  return got;
}

function adoptChecked(context: Context, path: string, one: LockedPackage): void {
  if (!existsSync(path)) return;
  const { digest, size } = sha256File(path);
  if (digest !== one.sha256 || size !== one.size) {
    throw new LockstepError(
      'DIGEST_MISMATCH',
      `${one.name} ${one.version} has SHA-256 ${digest}, the lock says ${one.sha256}`,
      'The archive serves other bytes than were locked. Find out why before you lock again.',
    );
  }
  context.store.blobs.adopt(path, digest);
}

function goneError(context: Context, gone: readonly LockedPackage[]): LockstepError {
  const names = gone.slice(0, 5).map((one) => `${one.name} ${one.version} (${one.architecture})`);
  const more = gone.length > 5 ? ` and ${gone.length - 5} more` : '';
  const where = context.settings.offline
    ? 'in the content store, and the network is not to be used'
    : 'in the content store, the archive or a snapshot';
  return new LockstepError(
    'INPUT_GONE',
    `These locked packages are not ${where}: ${names.join(', ')}${more}`,
    'Lock the versions of today with "lockstep lock --update", or name a snapshot archive in LOCKSTEP_SNAPSHOT.',
  );
}
