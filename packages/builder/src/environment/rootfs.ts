/** A root file system tarball as an environment: fetched by SHA-256, unpacked inside the sandbox. */
import { copyFileSync, existsSync, rmSync, statSync } from 'node:fs';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { LockedEnvironment } from '@lockstep/protocol/lock/lock';
import { sha256File } from '@lockstep/store/digests';
import type { Context } from '../context.ts';
import { fetchHttps } from '../fetch/https.ts';
import { ownJob, type SiloJob } from '../silo/job.ts';

type RootfsEnvironment = Extract<LockedEnvironment, { kind: 'rootfs' }>;

export async function ensureRootfs(context: Context, environment: RootfsEnvironment): Promise<void> {
  if (context.store.blobs.has(environment.sha256 as Sha256)) return;
  const scratch = context.store.newScratch();
  try {
    await fetchRootfs(context, environment.uri, environment.sha256, `${scratch}/rootfs`);
  } finally {
    context.store.dropScratch(scratch);
  }
}

/** @returns bytes. @throws LockstepError DIGEST_MISMATCH */
export async function fetchRootfs(context: Context, uri: string, sha256: string, temporary: string): Promise<number> {
  rmSync(temporary, { force: true });
  if (uri.startsWith('https://')) await fetchHttps(context, uri, temporary);
  else if (uri.startsWith('sha256:'))
    throw new LockstepError(
      'INPUT_GONE',
      `The root file system ${uri} is not in the content store; it came from a local file`,
      'Put it into the store again with "lockstep lock" where the file is.',
    );
  else {
    if (!existsSync(uri) || !statSync(uri).isFile())
      throw new LockstepError(
        'FILE_NOT_FOUND',
        `The root file system ${uri} does not exist`,
        'Give its path from the directory of the manifest, or an https URL.',
      );
    copyFileSync(uri, temporary);
  }
  const found = sha256File(temporary);
  if (found.digest !== sha256)
    throw new LockstepError(
      'DIGEST_MISMATCH',
      `${uri} has SHA-256 ${found.digest}, the manifest says ${sha256}`,
      'Check where it came from; then correct environment.sha256.',
    );
  context.store.blobs.adopt(temporary, found.digest);
  return found.size;
}

/** Device nodes cannot be made in a user namespace and are not wanted: the sandbox has a /dev of its own. */
export function rootfsJob(image: string): SiloJob {
  const unpack =
    "case $(od -An -N6 -tx1 /inputs/rootfs | tr -d ' ') in 1f8b*) z=gzip;; fd377a585a00) z=xz;; 28b52ffd*) z=zstd;; 425a68*) z=bzip2;; *) z=cat;; esac";
  const run = [
    unpack,
    "if [ $z = cat ]; then cat /inputs/rootfs; else $z -dc /inputs/rootfs; fi | tar -C /target -x --numeric-owner --same-permissions --exclude='./dev/*' --exclude='dev/*' -f -",
    'mkdir -p /target/proc /target/sys /target/dev /target/run /target/tmp /target/etc',
  ].join('\n');
  return ownJob({
    profile: 'install',
    inputs: [{ path: 'inputs', target: '/inputs', as: 'bind', strip: 0 }],
    steps: [{ name: 'unpack the root file system', run }],
    outputs: [],
    keepImage: image,
  });
}
