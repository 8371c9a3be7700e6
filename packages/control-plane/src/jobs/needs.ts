/** What a definition asks of a builder, and whether one can do it. */
import type { Capabilities } from '@lockstep/api/routes/builders';
import type { Definition } from '@lockstep/protocol/definition/definition';

export interface Needs {
  readonly tier: string;
  /** As Debian names it; `any` where the environment says nothing. */
  readonly architecture: string;
  readonly memoryMb: number;
  /** Disk of the build and its outputs. */
  readonly diskMb: number;
  readonly seconds: number;
  readonly cpus: number;
}

export function needsOf({ manifest, lock }: Definition): Needs {
  const { resources } = manifest;
  return {
    tier: manifest.tier,
    architecture: lock.environment.kind === 'debian' ? lock.environment.architecture : 'any',
    memoryMb: resources.memory_mb,
    diskMb: resources.scratch_mb + resources.output_mb,
    seconds: resources.timeout,
    cpus: resources.cpus,
  };
}

/** null when the builder can do it; else what is missing. */
export function cannotDo(needs: Needs, can: Capabilities): string | null {
  if (!can.tiers.includes(needs.tier as 'container')) return `the tier ${needs.tier}`;
  if (needs.architecture !== 'any' && needs.architecture !== can.architecture) return `the architecture ${needs.architecture}`;
  if (needs.memoryMb > can.limits.memoryMb) return `${needs.memoryMb} MiB of memory`;
  if (needs.diskMb > can.limits.diskMb) return `${needs.diskMb} MiB of disk`;
  if (needs.seconds > can.limits.seconds) return `${needs.seconds} s of time`;
  if (needs.cpus > can.limits.cpus) return `${needs.cpus} CPUs`;
  return null;
}
