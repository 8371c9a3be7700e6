/** Prepares the layer over the environment: mount points, the build user, name files. Refuses an environment that lays traps. */
import {
  appendFileSync,
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { SiloError } from '../failure.ts';
import type { Job } from '../job/job.ts';
import { CLOCK_LIBRARY, type OciConfig } from '../plan/oci.ts';
import { ID_BASE, PLACE } from '../plan/place.ts';

/** The skeleton of the `host` environment: links like the host's own; /usr and a few files of /etc are bound over it. */
export function makeHostSkeleton(): void {
  for (const name of ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32']) {
    const stat = lstatSync(`/${name}`, { throwIfNoEntry: false });
    if (stat?.isSymbolicLink() === true) symlinkSync(readlinkSync(`/${name}`), `${PLACE.lower}/${name}`);
    else if (stat?.isDirectory() === true)
      throw new SiloError(
        'HOST_CANNOT',
        `This host's /${name} is not merged into /usr`,
        'Use a Debian or root file system environment instead of "host".',
      );
  }
  mkdirSync(`${PLACE.lower}/etc`);
  writeFileSync(`${PLACE.lower}/etc/passwd`, 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n');
  writeFileSync(`${PLACE.lower}/etc/group`, 'root:x:0:\nnogroup:x:65534:\n');
}

/**
 * An environment is foreign data: a link where the runtime is going to mount would send the mount elsewhere
 * (CVE-2019-16884 and its family). So every component of every mount point is a real directory or does not exist.
 */
export function refuseTraps(config: OciConfig, root: string): void {
  for (const mount of config.mounts) refuseLinksOn(root, mount.destination);
  for (const path of ['/etc/passwd', '/etc/group', '/etc/hosts', '/etc/ld.so.preload']) refuseLinksOn(root, path);
}

function refuseLinksOn(root: string, destination: string): void {
  let at = root;
  for (const part of destination.split('/').slice(1)) {
    at = `${at}/${part}`;
    const stat = lstatSync(at, { throwIfNoEntry: false });
    if (stat === undefined) return;
    if (stat.isSymbolicLink()) {
      throw new SiloError(
        'ROOTFS_UNSAFE',
        `The environment has a symbolic link at ${at.slice(root.length)}, where the sandbox mounts ${destination}`,
        'Use a root file system whose /proc, /sys, /dev, /tmp, /run and build path are plain directories.',
      );
    }
  }
}

/** Make the mount points and files of the build profile in the overlay's upper layer. */
export function fillUpper(config: OciConfig, job: Job): void {
  for (const mount of config.mounts) {
    if (mount.destination.startsWith('/proc/') || mount.destination.startsWith('/dev/')) continue;
    const lower = lstatSync(`${PLACE.lower}${mount.destination}`, { throwIfNoEntry: false });
    if (lower !== undefined) continue;
    if (mount.type === 'bind' && lstatSync(mount.source, { throwIfNoEntry: false })?.isFile() === true) {
      makeDirectories(dirname(mount.destination));
      writeFileSync(`${PLACE.upper}${mount.destination}`, '');
      own(mount.destination);
    } else makeDirectories(mount.destination);
  }
  makeDirectories('/etc');
  const { user, uid, gid, home } = job.fixed;
  appendLine('/etc/passwd', `${user}:x:${uid}:${gid}:${user}:${home}:/bin/sh`);
  appendLine('/etc/group', `${user}:x:${gid}:`);
  writeFile('/etc/hosts', `127.0.0.1 localhost\n::1 localhost\n127.0.1.1 ${job.fixed.hostname}\n`);
  // Not LD_PRELOAD: an environment variable would itself be a difference that a build can record.
  if (job.ambient.clock !== null) writeFile('/etc/ld.so.preload', `${CLOCK_LIBRARY}\n`);
}

function makeDirectories(path: string): void {
  let at = '';
  for (const part of path.split('/').slice(1)) {
    at = `${at}/${part}`;
    const here = `${PLACE.upper}${at}`;
    if (existsSync(here)) continue;
    const lower = lstatSync(`${PLACE.lower}${at}`, { throwIfNoEntry: false });
    mkdirSync(here);
    // A directory of the upper layer hides the lower one's owner and mode: repeat them.
    chmodSync(here, lower === undefined ? 0o755 : lower.mode & 0o7777);
    chownSync(here, lower?.uid ?? ID_BASE, lower?.gid ?? ID_BASE);
  }
}

function appendLine(path: string, line: string): void {
  const target = `${PLACE.upper}${path}`;
  const lower = `${PLACE.lower}${path}`;
  if (existsSync(lower)) {
    copyFileSync(lower, target);
    const text = readFileSync(target, 'utf8');
    if (text !== '' && !text.endsWith('\n')) appendFileSync(target, '\n');
  }
  appendFileSync(target, `${line}\n`);
  chmodSync(target, 0o644);
  own(path);
}

function writeFile(path: string, content: string): void {
  writeFileSync(`${PLACE.upper}${path}`, content, { mode: 0o644 });
  own(path);
}

function own(path: string): void {
  chownSync(`${PLACE.upper}${path}`, ID_BASE, ID_BASE);
}
