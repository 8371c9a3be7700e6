/** What this host can do, for the farm to decide what it is offered. The host's ceilings are its operator's, not a manifest's. */
import { readFileSync, statfsSync } from 'node:fs';
import { arch, availableParallelism, totalmem } from 'node:os';
import type { Capabilities } from '@lockstep/api/routes/builders';
import { DEALT_FACTS } from '@lockstep/protocol/variation/deal';
import type { Context } from '../context.ts';
import { findOnPath } from '../fetch/program.ts';
import { hasDisorderfs } from '../vary/vary.ts';

/** The most that one build is given, whatever its manifest asks for. */
export interface Ceilings {
  readonly memoryMb?: number;
  readonly diskMb?: number;
  readonly seconds?: number;
  readonly cpus?: number;
}

const MEBI = 1 << 20;
const DAY = 86_400;

export function capabilitiesOf(context: Context, slots: number, ceilings: Ceilings): Capabilities {
  const memoryMb = Math.max(1, Math.floor(totalmem() / MEBI));
  const cpus = availableParallelism();
  return {
    architecture: debianArchitecture(),
    tiers: ['container'],
    cpus,
    cpuFeatures: cpuFeatures(),
    memoryMb,
    limits: {
      memoryMb: ceilings.memoryMb ?? memoryMb,
      diskMb: ceilings.diskMb ?? Math.max(1, freeMb(context.store.root)),
      seconds: ceilings.seconds ?? DAY,
      cpus: ceilings.cpus ?? Math.max(cpus, 64),
    },
    variations: DEALT_FACTS.filter((fact) => canVary(fact)),
    slots,
    version: context.settings.version,
  };
}

function canVary(fact: string): boolean {
  if (fact === 'directory-order') return hasDisorderfs();
  // An environment without a compiler needs the host's.
  if (fact === 'clock') return findOnPath('cc') !== null;
  return true;
}

function debianArchitecture(): string {
  return arch() === 'x64' ? 'amd64' : arch();
}

function cpuFeatures(): string[] {
  const line = /^(?:flags|Features)\s*:\s*(.+)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '';
  return line
    .split(' ')
    .filter((one) => one !== '' && one.length <= 40)
    .slice(0, 400);
}

/** Half of what is free: builds run beside each other. */
function freeMb(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return Math.floor((bavail * bsize) / 2 / MEBI);
}
