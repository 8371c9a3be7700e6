/** `job.json` as the builder writes it (spec/scratch.md). The silo reads it with a schema of its own: they share a format, not code. */

export interface SiloInput {
  readonly path: string;
  readonly target: string;
  readonly as: 'file' | 'tree' | 'bind';
  readonly strip: number;
}

export type SiloOutput =
  | { readonly kind: 'files'; readonly path: string }
  | { readonly kind: 'tree' | 'archive'; readonly path: string; readonly name: string }
  | { readonly kind: 'rootfs'; readonly name: string };

export interface Ambient {
  /** `library` is a path in the scratch; `startAt` seconds since 1970. */
  readonly clock: { readonly library: string; readonly startAt: number; readonly slowdown: number } | null;
  readonly directoryOrder: 'reverse' | null;
  readonly addressLayout: 'random' | null;
  readonly kernelName: '2.6' | null;
  readonly cpuModel: string | null;
  readonly memoryTotalMb: number | null;
  readonly load: number | null;
}

export const NO_VARIATION: Ambient = {
  clock: null,
  directoryOrder: null,
  addressLayout: null,
  kernelName: null,
  cpuModel: null,
  memoryTotalMb: null,
  load: null,
};

export interface SiloJob {
  readonly schema: 'lockstep-job/v1';
  readonly profile: 'build' | 'install' | 'fetch';
  readonly rootfs:
    | { readonly kind: 'host' }
    | { readonly kind: 'image'; readonly path: string; readonly writable: boolean }
    | { readonly kind: 'directory'; readonly path: string };
  readonly inputs: readonly SiloInput[];
  readonly env: Readonly<Record<string, string>>;
  readonly steps: readonly { readonly name: string; readonly run: string }[];
  readonly outputs: readonly SiloOutput[];
  readonly fixed: {
    readonly path: string;
    readonly home: string;
    readonly user: string;
    readonly uid: number;
    readonly gid: number;
    readonly umask: number;
    readonly hostname: string;
    readonly cpus: number;
    readonly sourceDate: number;
  };
  readonly limits: {
    readonly memoryMb: number;
    readonly scratchMb: number;
    readonly pids: number;
    readonly timeoutSeconds: number;
    readonly transcriptMb: number;
    readonly outputFiles: number;
    readonly outputDepth: number;
    readonly outputMb: number;
  };
  readonly ambient: Ambient;
  readonly network: 'none' | 'host';
  readonly keepImage: string | null;
}

/** 1980-01-01, the earliest date that every archive format can hold: for what has no date of its own. */
export const NEUTRAL_DATE = 315_532_800;

/** A job of the builder's own (fetch, unpack, assemble), with bounds that fit every source and environment seen so far. */
export function ownJob(parts: Pick<SiloJob, 'profile' | 'steps' | 'outputs'> & Partial<SiloJob>): SiloJob {
  return {
    schema: 'lockstep-job/v1',
    rootfs: { kind: 'host' },
    inputs: [],
    env: {},
    fixed: {
      path: '/build',
      home: '/home/build',
      user: 'build',
      uid: 1000,
      gid: 1000,
      umask: 0o022,
      hostname: 'lockstep',
      cpus: 1,
      sourceDate: NEUTRAL_DATE,
    },
    limits: {
      memoryMb: 2048,
      scratchMb: 16_384,
      pids: 512,
      timeoutSeconds: 1800,
      transcriptMb: 64,
      outputFiles: 2_000_000,
      outputDepth: 128,
      outputMb: 16_384,
    },
    ambient: NO_VARIATION,
    network: 'none',
    keepImage: null,
    ...parts,
  };
}
