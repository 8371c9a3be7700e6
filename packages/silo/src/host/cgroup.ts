/** Control groups of one run, on a v1, hybrid or v2 host: where they are, what they counted, and their removal. */
import { existsSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { SiloError } from '../failure.ts';

const ROOT = '/sys/fs/cgroup';
/** All runs of this program live below one group, so that what a killed run left behind can be found. */
const PARENT = 'lockstep';

export type CgroupVersion = 'v1' | 'v2';

const NEEDED_V1 = ['memory', 'pids', 'cpuset', 'devices'];
const NEEDED_V2 = ['memory', 'pids', 'cpuset'];

/** @throws SiloError HOST_CANNOT when a controller that a limit rests on is missing */
export function cgroupVersion(): CgroupVersion {
  if (existsSync(`${ROOT}/cgroup.controllers`)) {
    const has = readFileSync(`${ROOT}/cgroup.controllers`, 'utf8').split(/\s+/);
    const missing = NEEDED_V2.filter((name) => !has.includes(name));
    if (missing.length > 0) throw cannot(missing);
    return 'v2';
  }
  const missing = NEEDED_V1.filter((name) => !existsSync(`${ROOT}/${name}`));
  if (missing.length > 0) throw cannot(missing);
  return 'v1';
}

function cannot(missing: readonly string[]): SiloError {
  return new SiloError(
    'HOST_CANNOT',
    `The cgroup controllers ${missing.join(', ')} are missing, so limits would not hold`,
    'Boot with these controllers enabled, or run on another host.',
  );
}

export function isHybrid(): boolean {
  return existsSync(`${ROOT}/unified/cgroup.procs`) && !existsSync(`${ROOT}/cgroup.controllers`);
}

/** Name of the group of one run; the owner's pid in front says whether the run is still alive. */
export function cgroupPath(ownerPid: number, id: string): string {
  return `/${PARENT}/${ownerPid}-${id}`;
}

export function limitsSwap(version: CgroupVersion): boolean {
  return version === 'v2'
    ? existsSync('/proc/swaps') && existsSync(`${ROOT}/cgroup.controllers`)
    : existsSync(`${ROOT}/memory/memory.memsw.limit_in_bytes`);
}

export interface Counted {
  /** Processes that the kernel killed because the group was out of memory. */
  readonly oomKills: number;
  /** Bytes, the highest that the group ever used; null where the kernel does not say. */
  readonly peakMemory: number | null;
}

/** Read before the runtime deletes the group. */
export function readCounters(version: CgroupVersion, path: string): Counted {
  const base = version === 'v2' ? `${ROOT}${path}` : `${ROOT}/memory${path}`;
  const events = read(version === 'v2' ? `${base}/memory.events` : `${base}/memory.oom_control`);
  if (events === null)
    throw new SiloError(
      'SANDBOX_FAILED',
      `The memory group ${path} is gone before it was read`,
      'Out-of-memory cannot be told apart; run again.',
    );
  const kills = /^oom_kill (\d+)$/m.exec(events)?.[1];
  const peak = read(version === 'v2' ? `${base}/memory.peak` : `${base}/memory.max_usage_in_bytes`);
  return { oomKills: kills === undefined ? 0 : Number(kills), peakMemory: peak === null ? null : Number(peak) };
}

function read(path: string): string | null {
  return existsSync(path) ? readFileSync(path, 'utf8') : null;
}

/**
 * Let a process compete with the build for its CPUs: the same share, the same CPUs. Outside the group it would get only
 * what the scheduler gives to its session, which is next to nothing beside a container.
 */
export function joinForLoad(version: CgroupVersion, path: string, pid: number): void {
  const groups = version === 'v2' ? [`${ROOT}${path}`] : [`${ROOT}/cpu${path}`, `${ROOT}/cpuset${path}`];
  for (const group of groups) if (existsSync(group)) writeFileSync(`${group}/cgroup.procs`, String(pid));
}

/** Remove the empty groups of runs whose owner is dead. Only the owner's own processes could still be in them. */
export function sweepDeadGroups(isAlive: (pid: number) => boolean): string[] {
  const removed: string[] = [];
  for (const top of [ROOT, ...listDirectories(ROOT).map((name) => `${ROOT}/${name}`)]) {
    const parent = `${top}/${PARENT}`;
    for (const name of listDirectories(parent)) {
      const pid = Number(/^(\d+)-/.exec(name)?.[1] ?? 'NaN');
      if (!Number.isInteger(pid) || isAlive(pid)) continue;
      if (removeTree(`${parent}/${name}`)) removed.push(`${parent}/${name}`);
    }
  }
  return removed;
}

function removeTree(path: string): boolean {
  for (const name of listDirectories(path)) removeTree(`${path}/${name}`);
  try {
    rmdirSync(path);
    return true;
  } catch (error) {
    // Somebody else swept it first, or a process is still leaving it: the next run tries again.
    if (isErrno(error, 'ENOENT') || isErrno(error, 'EBUSY')) return false;
    throw error;
  }
}

function listDirectories(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
