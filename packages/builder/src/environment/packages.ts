/** Brings every locked package into the content store: what is there stays, then the archive, then a snapshot archive. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { LockedEnvironment, LockedPackage } from '@lockstep/protocol/lock/lock';
import { sha256File } from '@lockstep/store/digests';
import type { Context, ProgressItem } from '../context.ts';
import { downloadPackages, moveDownloaded, openArchive } from '../fetch/apt.ts';
import { fetchHttps } from '../fetch/https.ts';

type DebianEnvironment = Extract<LockedEnvironment, { kind: 'debian' }>;

/** @throws LockstepError INPUT_GONE naming what cannot be had any more, with the way out */
export async function ensurePackages(context: Context, environment: DebianEnvironment, item: ProgressItem): Promise<void> {
  const missing = (): LockedPackage[] => environment.packages.filter((one) => !context.store.blobs.has(one.sha256 as Sha256));
  if (missing().length === 0) return;
  const folder = context.store.newScratch();
  try {
    if (!context.settings.offline) {
      await fromArchive(context, environment, missing(), folder, item);
      for (const base of context.settings.snapshots) await fromSnapshot(context, base, missing(), folder);
    }
    const gone = missing();
    if (gone.length > 0) throw goneError(context, gone);
  } finally {
    context.store.dropScratch(folder);
  }
}

async function fromArchive(
  context: Context,
  environment: DebianEnvironment,
  wanted: readonly LockedPackage[],
  scratch: string,
  item: ProgressItem,
): Promise<void> {
  const archive = await openArchive(context, environment.suite, false);
  const folder = `${scratch}/inputs`;
  mkdirSync(folder, { recursive: true });
  const bytes = wanted.reduce((sum, one) => sum + one.size, 0);
  item.update(`${wanted.length} packages, ${Math.ceil(bytes / (1 << 20))} MiB`);
  await downloadPackages(
    context,
    archive,
    wanted.map((one) => `${one.name}:${one.architecture}=${one.version}`),
    folder,
  );
  for (const one of wanted) {
    const path = `${scratch}/package.deb`;
    if (moveDownloaded(folder, one, path)) adoptChecked(context, path, one);
  }
}

async function fromSnapshot(context: Context, base: string, wanted: readonly LockedPackage[], scratch: string): Promise<void> {
  for (const one of wanted) {
    const path = `${scratch}/snapshot.deb`;
    rmSync(path, { force: true });
    try {
      await fetchHttps(context, `${base.replace(/\/$/, '')}/${one.path}`, path, { bytes: one.size, milliseconds: 600_000 });
    } catch (error) {
      if (error instanceof LockstepError && error.code === 'FETCH_FAILED') continue;
      throw error;
    }
    adoptChecked(context, path, one);
  }
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
