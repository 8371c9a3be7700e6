/** The OCI runtime configuration (runtime-spec 1.0) of one job: namespaces, mounts, limits, masks. Plain data. */
import type { Job } from '../job/job.ts';
import { ID_BASE, ID_COUNT, PLACE, STEPS_TARGET, TARGET_OF_IMAGE } from './place.ts';
import { type SeccompProfile, seccompProfile } from './seccomp.ts';

interface OciMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

export interface OciConfig {
  readonly ociVersion: string;
  readonly process: Readonly<Record<string, unknown>>;
  readonly root: { readonly path: string; readonly readonly: boolean };
  readonly hostname: string;
  readonly mounts: readonly OciMount[];
  readonly linux: Readonly<Record<string, unknown>> & { readonly seccomp: SeccompProfile };
}

export interface HostPart {
  /** cgroup path of this run. */
  readonly cgroup: string;
  /** The host's CPUs that this build may use, as a cpuset list; as many as the definition declares. */
  readonly cpuset: string;
  /** Whether the kernel counts swap per group. */
  readonly limitSwap: boolean;
  /** Open files; the host allows at least as many. */
  readonly openFiles: number;
  /** Host files shown read-only for the profiles that use the host's own /usr. */
  readonly hostBinds: readonly string[];
  /** Host files shown read-only so that a fetch can resolve names and check certificates. */
  readonly fetchBinds: readonly string[];
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** What dpkg, tar and maintainer scripts need inside their own user namespace, and no more. */
const INSTALL_CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_SETUID',
  'CAP_SETGID',
  'CAP_SETFCAP',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
];
const NAMESPACES = ['pid', 'ipc', 'uts', 'mount', 'cgroup', 'user'];
const MASKED = [
  '/proc/acpi',
  '/proc/buddyinfo',
  '/proc/cmdline',
  '/proc/crypto',
  '/proc/fs',
  '/proc/locks',
  '/proc/pressure',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kallsyms',
  '/proc/kcore',
  '/proc/keys',
  '/proc/key-users',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/config.gz',
  '/proc/modules',
  '/proc/partitions',
  '/proc/diskstats',
  '/proc/vmallocinfo',
  '/proc/pagetypeinfo',
];
const READ_ONLY = ['/proc/bus', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];
/** Where the clock library and its configuration are shown. */
const CLOCK_TARGET = '/run/lockstep-clock';
export const CLOCK_LIBRARY = `${CLOCK_TARGET}/clock.so`;

const bindMount = (source: string, destination: string, ...options: string[]): OciMount => ({
  destination,
  type: 'bind',
  source,
  options: ['bind', 'nosuid', 'nodev', ...options],
});

export function ociConfig(job: Job, host: HostPart): OciConfig {
  const install = job.profile === 'install';
  const capabilities = install ? INSTALL_CAPABILITIES : [];
  const idMap = [{ containerID: 0, hostID: ID_BASE, size: ID_COUNT }];
  const memory = job.limits.memoryMb * (1 << 20);
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: install ? 0 : job.fixed.uid, gid: install ? 0 : job.fixed.gid, umask: job.fixed.umask },
      args: ['/bin/sh', `${STEPS_TARGET}/init`],
      env: environment(job),
      cwd: '/',
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities, inheritable: [], ambient: [] },
      rlimits: [
        { type: 'RLIMIT_NOFILE', hard: host.openFiles, soft: host.openFiles },
        { type: 'RLIMIT_CORE', hard: 0, soft: 0 },
        { type: 'RLIMIT_STACK', hard: 8 << 20, soft: 8 << 20 },
      ],
      noNewPrivileges: true,
    },
    root: { path: PLACE.root, readonly: !install },
    hostname: job.fixed.hostname,
    mounts: mountsOf(job, host),
    linux: {
      namespaces: [...NAMESPACES, ...(job.network === 'none' ? ['network'] : [])].map((type) => ({ type })),
      uidMappings: idMap,
      gidMappings: idMap,
      cgroupsPath: host.cgroup,
      resources: {
        devices: [{ allow: false, access: 'rwm' }],
        memory: host.limitSwap ? { limit: memory, swap: memory } : { limit: memory },
        pids: { limit: job.limits.pids },
        cpu: { cpus: host.cpuset },
      },
      maskedPaths: MASKED,
      readonlyPaths: READ_ONLY,
      seccomp: seccompProfile(install),
    },
  };
}

/** The whole environment of process 1; nothing of the host's is passed on. Sorted, so that `env` prints the same. */
function environment(job: Job): string[] {
  const all: Record<string, string> = {
    HOME: job.fixed.home,
    LC_ALL: 'C.UTF-8',
    LOGNAME: job.fixed.user,
    PATH,
    SOURCE_DATE_EPOCH: String(job.fixed.sourceDate),
    TMPDIR: '/tmp',
    TZ: 'UTC',
    USER: job.fixed.user,
    ...job.env,
  };
  return Object.keys(all)
    .sort()
    .map((key) => `${key}=${all[key] ?? ''}`);
}

function mountsOf(job: Job, host: HostPart): OciMount[] {
  const build = job.ambient.directoryOrder === null ? PLACE.work : PLACE.disordered;
  const mounts: OciMount[] = [
    ...(job.rootfs.kind === 'host' ? host.hostBinds.map((path) => bindMount(path, path, 'ro')) : []),
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
    { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755', 'size=1024k'] },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
    },
    { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'] },
    bindMount(`${PLACE.fakes}/sys`, '/sys', 'ro', 'noexec'),
    bindMount(`${PLACE.fakes}/cpuinfo`, '/proc/cpuinfo', 'ro', 'noexec'),
    bindMount(`${PLACE.fakes}/stat`, '/proc/stat', 'ro', 'noexec'),
    bindMount(PLACE.tmp, '/tmp', 'rw'),
    bindMount(PLACE.varTmp, '/var/tmp', 'rw'),
    bindMount(PLACE.steps, STEPS_TARGET, 'ro', 'noexec'),
  ];
  if (job.ambient.memoryTotalMb !== null) mounts.push(bindMount(`${PLACE.fakes}/meminfo`, '/proc/meminfo', 'ro', 'noexec'));
  if (job.profile !== 'install') mounts.push(bindMount(PLACE.home, job.fixed.home, 'rw'));
  mounts.push(bindMount(build, buildMount(job), 'rw'));
  for (const input of job.inputs)
    if (input.as === 'bind') mounts.push(bindMount(`${PLACE.fakes}/inputs/${input.path}`, input.target, 'ro', 'noexec'));
  if (job.keepImage !== null && job.rootfs.kind === 'host') mounts.push(bindMount(PLACE.image, TARGET_OF_IMAGE, 'rw'));
  if (job.ambient.clock !== null) mounts.push(bindMount(PLACE.clock, CLOCK_TARGET, 'ro'));
  if (job.network === 'host') for (const path of host.fetchBinds) mounts.push(bindMount(path, path, 'ro', 'noexec'));
  return mounts;
}

/** The first component of the build path is the mount, so that a step can also write beside the build directory. */
export function buildMount(job: Job): string {
  return `/${job.fixed.path.split('/')[1] ?? 'build'}`;
}
