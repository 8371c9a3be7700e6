/** The mounts that surround one run, as one shell script: data until it is run, one process when it is. */
import type { Job } from '../job/job.ts';
import { ID_BASE, PLACE } from './place.ts';
import { quote } from './steps.ts';

/**
 * ext4 lists a directory in the order of a hash that is seeded per file system. A fixed seed and id make that order a
 * property of the names alone: the same on every host.
 */
const HASH_SEED = '5e0bd2b6-15d1-4c6f-9a3c-0f3b8a1d0001';
const VOLUME_ID = '5e0bd2b6-15d1-4c6f-9a3c-0f3b8a1d0002';
const MKFS = `mkfs.ext4 -q -F -m 0 -i 8192 -O ^has_journal,^resize_inode -E lazy_itable_init=1,nodiscard,root_owner=${ID_BASE}:${ID_BASE},hash_seed=${HASH_SEED} -U ${VOLUME_ID}`;
const DISK_OPTIONS = 'loop,nosuid,nodev,noatime,noinit_itable';

/** Before anything else: the private tmpfs that holds every mount point. Its mounts end with the mount namespace. */
export function baseScript(): string {
  return [
    `mount -t tmpfs -o mode=0711,size=256m,nosuid,nodev lockstep ${quote(PLACE.lower.replace(/\/lower$/, ''))}`,
    `mkdir -p ${Object.values(PLACE)
      .filter((path) => !path.startsWith(`${PLACE.disk}/`))
      .map(quote)
      .join(' ')}`,
  ].join('\n');
}

/** @param disk host path of the disk image of this run */
export function diskScript(job: Job, disk: string): string {
  const lines = [makeDisk(disk, job.limits.scratchMb, PLACE.disk)];
  lines.push(`mkdir ${[PLACE.upper, PLACE.overlayWork, PLACE.work, PLACE.home, PLACE.tmp, PLACE.varTmp].map(quote).join(' ')}`);
  lines.push(
    `chmod 1777 ${PLACE.tmp} ${PLACE.varTmp}`,
    `chmod 0755 ${PLACE.upper}`,
    `chown ${ID_BASE}:${ID_BASE} ${PLACE.upper} ${PLACE.work} ${PLACE.tmp} ${PLACE.varTmp}`,
  );
  if (job.keepImage !== null && job.rootfs.kind === 'host')
    lines.push(makeDisk(job.keepImage, job.limits.scratchMb, PLACE.image), `chmod 0755 ${PLACE.image}`);
  if (job.rootfs.kind === 'image' && job.rootfs.writable) lines.push(`mount -o ${DISK_OPTIONS} ${quote(job.rootfs.path)} ${PLACE.root}`);
  if (job.rootfs.kind === 'image' && !job.rootfs.writable)
    lines.push(`mount -o loop,ro,noload,nosuid,nodev ${quote(job.rootfs.path)} ${PLACE.lower}`);
  if (job.rootfs.kind === 'directory')
    lines.push(`mount --bind ${quote(job.rootfs.path)} ${PLACE.lower}`, `mount -o remount,bind,ro,nosuid,nodev ${PLACE.lower}`);
  return lines.join('\n');
}

function makeDisk(file: string, megabytes: number, at: string): string {
  return [
    `truncate -s ${megabytes}M ${quote(file)}`,
    `${MKFS} ${quote(file)}`,
    `mount -o ${DISK_OPTIONS} ${quote(file)} ${at}`,
    `rmdir ${at}/lost+found`,
  ].join('\n');
}

/** After the upper layer and the inputs are in place. */
export function rootScript(job: Job, binds: readonly { from: string; to: string }[]): string {
  const lines: string[] = [];
  if (!(job.rootfs.kind === 'image' && job.rootfs.writable)) {
    lines.push(`mount -t overlay -o lowerdir=${PLACE.lower},upperdir=${PLACE.upper},workdir=${PLACE.overlayWork} overlay ${PLACE.root}`);
  }
  for (const { from, to } of binds) lines.push(`mount --bind ${quote(from)} ${quote(to)}`);
  if (job.ambient.directoryOrder === 'reverse') {
    lines.push(`disorderfs --multi-user=yes --reverse-dirents=yes --pad-blocks=0 ${PLACE.work} ${PLACE.disordered}`);
  }
  return lines.length === 0 ? ':' : lines.join('\n');
}
