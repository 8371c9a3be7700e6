/** What this host can and cannot do, each with what to install or change. The trial build is the proof; the rest says why. */
import { existsSync, readFileSync } from 'node:fs';
import type { Context } from '../context.ts';
import { findOnPath } from '../fetch/program.ts';
import { openScratch } from '../scratch/scratch-volume.ts';
import { tryKinds } from '../scratch/which-work.ts';
import { ownJob } from '../silo/job.ts';
import { runSilo } from '../silo/run-silo.ts';

export interface HostCheck {
  readonly name: string;
  readonly ok: boolean;
  /** Whether a plain build needs it. */
  readonly needed: boolean;
  readonly detail: string;
  readonly remedy: string;
}

interface Tool {
  readonly program: string;
  readonly debian: string;
  readonly needed: boolean;
  readonly purpose: string;
}

/** Programs of the host, the Debian package of each, and what it is for. scripts/setup.sh installs the same. */
export const HOST_TOOLS: readonly Tool[] = [
  { program: 'runc', debian: 'runc', needed: true, purpose: 'the sandbox' },
  { program: 'unshare', debian: 'util-linux', needed: true, purpose: 'namespaces around the silo' },
  { program: 'setpriv', debian: 'util-linux', needed: true, purpose: 'a build ends with its parent' },
  { program: 'mkfs.ext4', debian: 'e2fsprogs', needed: true, purpose: 'the disk of a build' },
  { program: 'getfattr', debian: 'attr', needed: true, purpose: 'refusing extended attributes' },
  { program: 'tar', debian: 'tar', needed: true, purpose: 'unpacking environments' },
  { program: 'xz', debian: 'xz-utils', needed: true, purpose: 'unpacking sources' },
  { program: 'git', debian: 'git', needed: true, purpose: 'git sources' },
  { program: 'apt-get', debian: 'apt', needed: false, purpose: 'locking Debian environments' },
  { program: 'dpkg-deb', debian: 'dpkg', needed: false, purpose: 'assembling Debian environments' },
  { program: 'npm', debian: 'npm', needed: false, purpose: 'npm sources' },
  { program: 'disorderfs', debian: 'disorderfs', needed: false, purpose: 'varying the directory order' },
  { program: 'cc', debian: 'gcc', needed: false, purpose: 'varying the clock of builds whose environment has no compiler' },
  { program: 'diffoscope', debian: 'diffoscope-minimal', needed: false, purpose: 'explaining differences' },
];

/** Far more than the trial build takes: its job asks for the usual disk, which is sparse. */
const TRIAL_SCRATCH_MB = 1024;

export async function checkHost(context: Context): Promise<HostCheck[]> {
  const root = process.getuid?.() === 0;
  const checks: HostCheck[] = [
    {
      name: 'Linux',
      ok: process.platform === 'linux',
      needed: true,
      detail: process.platform,
      remedy: 'Use a Linux machine, or a virtual one.',
    },
    {
      name: 'root',
      ok: root,
      needed: true,
      detail: root ? 'yes' : 'no',
      remedy: 'Run as root: a sealed build mounts, and maps 65,536 ids. "verify" needs no root.',
    },
    { name: 'overlayfs', ok: hasFilesystem('overlay'), needed: true, detail: 'kernel', remedy: 'modprobe overlay' },
    { name: 'ext4', ok: hasFilesystem('ext4'), needed: true, detail: 'kernel', remedy: 'modprobe ext4' },
    { name: 'loop devices', ok: existsSync('/dev/loop-control'), needed: true, detail: '/dev/loop-control', remedy: 'modprobe loop' },
    {
      name: 'user namespaces',
      ok: userNamespaces(),
      needed: true,
      detail: '/proc/sys/user/max_user_namespaces',
      remedy: 'sysctl user.max_user_namespaces=10000',
    },
    { name: 'FUSE', ok: existsSync('/dev/fuse'), needed: false, detail: '/dev/fuse', remedy: 'modprobe fuse, to vary the directory order' },
    ...HOST_TOOLS.map((tool): HostCheck => {
      const path = findOnPath(tool.program);
      return {
        name: tool.program,
        ok: path !== null,
        needed: tool.needed,
        detail: path ?? `missing: ${tool.purpose}`,
        remedy: `apt-get install ${tool.debian}`,
      };
    }),
  ];
  checks.push(await secretScratches(context));
  if (root && checks.every((check) => check.ok || !check.needed)) checks.push(await trialBuild(context));
  return checks;
}

function hasFilesystem(name: string): boolean {
  // A module that is not loaded yet is loaded by mount; what is neither listed nor a module is not there.
  const release = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim();
  return (
    new RegExp(`\\b${name}$`, 'm').test(readFileSync('/proc/filesystems', 'utf8')) ||
    existsSync(`/lib/modules/${release}/kernel/fs/${name === 'overlay' ? 'overlayfs' : name}`)
  );
}

function userNamespaces(): boolean {
  const path = '/proc/sys/user/max_user_namespaces';
  return existsSync(path) && Number(readFileSync(path, 'utf8')) > 0;
}

/** Needed as far as it is asked for: see Settings.scratch. */
async function secretScratches(context: Context): Promise<HostCheck> {
  const trials = await tryKinds(context);
  const set = context.settings.scratch;
  const ok = trials.some((trial) => trial.works && (set === 'plain' || set === 'auto' || set === trial.kind));
  return {
    name: 'secret scratch',
    ok,
    needed: set !== 'plain',
    detail: trials.map((trial) => `${trial.kind} ${trial.works ? 'works' : 'does not'} (${trial.detail})`).join('; '),
    remedy: `LOCKSTEP_SCRATCH is ${set}.`,
  };
}

/** On a scratch of the kind that is set, as a build would have it. */
async function trialBuild(context: Context): Promise<HostCheck> {
  const scratch = await openScratch(context, TRIAL_SCRATCH_MB);
  try {
    const result = await runSilo(
      context,
      scratch.path,
      ownJob({ profile: 'build', steps: [{ name: 'echo', run: 'echo works > out' }], outputs: [{ kind: 'files', path: 'out' }] }),
      null,
      scratch.silo,
    );
    const detail =
      result.failure === null
        ? `${result.sandbox?.runtime ?? ''}, cgroup ${result.sandbox?.cgroup ?? ''}`
        : `${result.failure.code}: ${result.failure.message}`;
    return { name: 'trial build', ok: result.failure === null, needed: true, detail, remedy: result.failure?.hint ?? '' };
  } finally {
    await scratch.destroy();
  }
}
