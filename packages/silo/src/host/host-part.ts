/** What the plan needs to know of this host. */
import { existsSync, readFileSync } from 'node:fs';
import { SiloError } from '../failure.ts';
import type { Job } from '../job/job.ts';
import type { HostFacts } from '../plan/fakes.ts';
import type { HostPart } from '../plan/oci.ts';
import { cgroupPath, type CgroupVersion, limitsSwap } from './cgroup.ts';
import { pickCpus } from './cpus.ts';

const HOST_BINDS = ['/usr', '/etc/alternatives', '/etc/ld.so.cache', '/etc/ld.so.conf', '/etc/ld.so.conf.d'];
const FETCH_BINDS = [
  '/etc/resolv.conf',
  '/etc/nsswitch.conf',
  '/etc/ssl/certs',
  '/etc/ssl/openssl.cnf',
  '/etc/pki',
  '/etc/ssh/ssh_known_hosts',
  '/etc/ca-certificates.conf',
];

export function hostPart(job: Job, version: CgroupVersion, owner: number, id: string): HostPart {
  return {
    cgroup: cgroupPath(owner, id),
    cpuset: pickCpus(readFileSync('/proc/self/status', 'utf8'), job.fixed.cpus),
    limitSwap: limitsSwap(version),
    openFiles: openFiles(Number(/^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? '1024')),
    hostBinds: HOST_BINDS.filter((path) => existsSync(path)),
    fetchBinds: FETCH_BINDS.filter((path) => existsSync(path)),
  };
}

/** Open files, the same on every host; a sandbox cannot raise what the host forbids. */
const OPEN_FILES = 4096;

function openFiles(hard: number): number {
  if (hard < OPEN_FILES)
    throw new SiloError(
      'HOST_CANNOT',
      `This process may open ${hard} files, and a build is promised ${OPEN_FILES}`,
      'Raise the hard limit: ulimit -Hn 4096, or LimitNOFILE= in the service.',
    );
  return OPEN_FILES;
}

export function hostFacts(): HostFacts {
  return {
    cpuinfo: readFileSync('/proc/cpuinfo', 'utf8'),
    stat: readFileSync('/proc/stat', 'utf8'),
    meminfo: readFileSync('/proc/meminfo', 'utf8'),
  };
}
