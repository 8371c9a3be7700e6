/**
 * `job.json`: what a scratch asks of the silo (spec/scratch.md). Closed: an unknown key is an error, because a
 * protection that was asked for and silently not understood would be a protection that is not there.
 */
import { SiloError } from '../failure.ts';
import { field, type Reader, readObject } from './read.ts';

type Profile = 'build' | 'install' | 'fetch';

type Rootfs =
  /** An ext4 image; read-only unless `writable` (used while an environment is being assembled). */
  | { readonly kind: 'image'; readonly path: string; readonly writable: boolean }
  | { readonly kind: 'directory'; readonly path: string }
  /** The machine's own `/usr`, for trying things out. */
  | { readonly kind: 'host' };

export interface Input {
  /** Path below the scratch directory. */
  readonly path: string;
  /** Absolute path inside the sandbox. */
  readonly target: string;
  /**
   * `file` is copied, `tree` is a tar that is checked and unpacked, `bind` is shown read-only where it lies.
   * Copies belong to the build user and carry the source date; a bind shows the host's inode.
   */
  readonly as: 'file' | 'tree' | 'bind';
  /** How many leading path components of a `tree` to drop. */
  readonly strip: number;
}

interface Step {
  readonly name: string;
  readonly run: string;
}

export type OutputRule =
  | { readonly kind: 'files'; readonly path: string }
  | { readonly kind: 'tree'; readonly path: string; readonly name: string }
  /** A tar that a step made: read strictly and written again in canonical form. */
  | { readonly kind: 'archive'; readonly path: string; readonly name: string }
  /** The digest of a whole root file system as one canonical tar; the bytes stay in the image. */
  | { readonly kind: 'rootfs'; readonly name: string };

/** What the definition fixes. */
interface Fixed {
  readonly path: string;
  readonly home: string;
  readonly user: string;
  readonly uid: number;
  readonly gid: number;
  readonly umask: number;
  readonly hostname: string;
  readonly cpus: number;
  /** Seconds since 1970; mtime of every staged input and of every tar member. */
  readonly sourceDate: number;
}

export interface Limits {
  readonly memoryMb: number;
  readonly scratchMb: number;
  readonly pids: number;
  readonly timeoutSeconds: number;
  readonly transcriptMb: number;
  readonly outputFiles: number;
  readonly outputDepth: number;
  readonly outputMb: number;
}

/** Planned differences. Each is absent in a normal build. */
interface Ambient {
  /** Another wall clock: a library that is loaded into every program (spec/scratch.md), when it starts, and how slowly it runs. */
  readonly clock: { readonly library: string; readonly startAt: number; readonly slowdown: number } | null;
  readonly directoryOrder: 'reverse' | null;
  readonly addressLayout: 'random' | null;
  readonly kernelName: '2.6' | null;
  readonly cpuModel: string | null;
  readonly memoryTotalMb: number | null;
  readonly load: number | null;
}

export interface Job {
  readonly profile: Profile;
  readonly rootfs: Rootfs;
  readonly inputs: readonly Input[];
  readonly env: Readonly<Record<string, string>>;
  readonly steps: readonly Step[];
  readonly outputs: readonly OutputRule[];
  readonly fixed: Fixed;
  readonly limits: Limits;
  readonly ambient: Ambient;
  readonly network: 'none' | 'host';
  /** `xattr`-free trees and setuid rules do not apply to a root file system under assembly; they do to all else. */
  readonly keepImage: string | null;
}

const JOB_SCHEMA = 'lockstep-job/v1';
/** A job of the largest real kind (thousands of npm packages) is under 2 MiB. */
export const MAX_JOB_BYTES = 16 << 20;
const MAX_INPUTS = 200_000;
const MAX_STEPS = 1024;

const NEWLINES = /[\0\n\r]/;

function absolute(reader: Reader): string {
  const value = reader.string(4096);
  const clean = value.startsWith('/') && !NEWLINES.test(value) && !value.split('/').some((part) => part === '..' || part === '.');
  return clean ? value : reader.fail('an absolute path without "." or ".."');
}

function below(reader: Reader): string {
  const value = reader.string(4096);
  const clean =
    value !== '' &&
    !value.startsWith('/') &&
    !NEWLINES.test(value) &&
    !value.split('/').some((part) => part === '..' || part === '.' || part === '');
  return clean ? value : reader.fail('a relative path without "." or ".."');
}

function plainName(reader: Reader): string {
  const value = reader.string(255);
  return /^[A-Za-z0-9_.+~-][A-Za-z0-9_.+~@:-]*$/.test(value) && value !== '.' && value !== '..' ? value : reader.fail('a plain file name');
}

function readRootfs(reader: Reader): Rootfs {
  const kind = field(reader, 'kind').oneOf(['image', 'directory', 'host'] as const);
  if (kind === 'host') return readObject(reader, { kind: () => 'host' as const });
  if (kind === 'directory') return readObject(reader, { kind: () => 'directory' as const, path: absolute });
  return readObject(reader, { kind: () => 'image' as const, path: absolute, writable: (r) => r.boolean() });
}

function readInput(reader: Reader): Input {
  return readObject(reader, {
    path: below,
    target: absolute,
    as: (r) => r.oneOf(['file', 'tree', 'bind'] as const),
    strip: (r) => r.integer(0, 16),
  });
}

function readOutput(reader: Reader): OutputRule {
  const kind = field(reader, 'kind').oneOf(['files', 'tree', 'archive', 'rootfs'] as const);
  if (kind === 'files') return readObject(reader, { kind: () => 'files' as const, path: (r) => r.string(4096) });
  if (kind === 'rootfs') return readObject(reader, { kind: () => 'rootfs' as const, name: plainName });
  if (kind === 'tree') return readObject(reader, { kind: () => 'tree' as const, path: (r) => r.string(4096), name: plainName });
  return readObject(reader, { kind: () => 'archive' as const, path: (r) => r.string(4096), name: plainName });
}

function readFixed(reader: Reader): Fixed {
  return readObject(reader, {
    path: absolute,
    home: absolute,
    user: (r) => {
      const value = r.string(32);
      return /^[a-z_][a-z0-9_-]*$/.test(value) ? value : r.fail('a user name');
    },
    uid: (r) => r.integer(0, 65_533),
    gid: (r) => r.integer(0, 65_533),
    umask: (r) => r.integer(0, 0o777),
    hostname: (r) => {
      const value = r.string(63);
      return /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(value) ? value : r.fail('a host name');
    },
    cpus: (r) => r.integer(1, 1024),
    sourceDate: (r) => r.integer(0, 0xffff_ffff),
  });
}

function readLimits(reader: Reader): Limits {
  return readObject(reader, {
    memoryMb: (r) => r.integer(16, 1 << 24),
    scratchMb: (r) => r.integer(8, 1 << 24),
    pids: (r) => r.integer(4, 1 << 22),
    timeoutSeconds: (r) => r.integer(1, 30 * 86_400),
    transcriptMb: (r) => r.integer(1, 4096),
    outputFiles: (r) => r.integer(1, 10_000_000),
    outputDepth: (r) => r.integer(1, 256),
    outputMb: (r) => r.integer(1, 1 << 24),
  });
}

function readAmbient(reader: Reader): Ambient {
  return readObject(reader, {
    clock: (r) =>
      r.nullOr((n) =>
        readObject(n, { library: below, startAt: (t) => t.integer(1, 0xffff_ffff), slowdown: (t) => t.integer(1, 1_000_000) }),
      ),
    directoryOrder: (r) => r.nullOr((n) => n.oneOf(['reverse'] as const)),
    addressLayout: (r) => r.nullOr((n) => n.oneOf(['random'] as const)),
    kernelName: (r) => r.nullOr((n) => n.oneOf(['2.6'] as const)),
    cpuModel: (r) => r.nullOr((n) => n.string(64)),
    memoryTotalMb: (r) => r.nullOr((n) => n.integer(16, 1 << 24)),
    load: (r) => r.nullOr((n) => n.integer(1, 64)),
  });
}

/** Parse `job.json`. @throws SiloError JOB_INVALID naming the key and what was expected */
export function readJob(reader: Reader): Job {
  const job = readObject(reader, {
    schema: (r) => r.oneOf([JOB_SCHEMA] as const),
    profile: (r) => r.oneOf(['build', 'install', 'fetch'] as const),
    rootfs: readRootfs,
    inputs: (r) => r.list(MAX_INPUTS, readInput),
    env: (r) => r.record(1024, (value) => value.string(131_072)),
    steps: (r) => r.list(MAX_STEPS, (step) => readObject(step, { name: (n) => n.string(200), run: (n) => n.string(131_072) })),
    outputs: (r) => r.list(1024, readOutput),
    fixed: readFixed,
    limits: readLimits,
    ambient: readAmbient,
    network: (r) => r.oneOf(['none', 'host'] as const),
    keepImage: (r) => r.nullOr(absolute),
  });
  for (const [name, value] of Object.entries(job.env)) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) || value.includes('\0')) {
      throw new SiloError(
        'JOB_INVALID',
        `job.json: env.${JSON.stringify(name)} is not an environment variable`,
        'Use letters, digits and underscores.',
      );
    }
  }
  if (job.network === 'host' && job.profile !== 'fetch') {
    throw new SiloError(
      'JOB_INVALID',
      'job.json: network "host" is only for the profile "fetch"',
      'Fetch inputs first; a build has no network.',
    );
  }
  return job;
}
