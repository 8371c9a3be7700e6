/**
 * The variations that `build --vary` plans. Ambient ones are facts of the surroundings that builders of a farm differ in;
 * the others the definition fixes, so that a difference there is advice to whoever maintains the build.
 */
import { availableParallelism } from 'node:os';
import type { Definition } from '@lockstep/protocol/definition/definition';
import { NO_VARIATION } from '../silo/job.ts';
import type { ClockPlan, Conditions, FixedOverrides } from '../build/job.ts';
import type { Ambient } from '../silo/job.ts';

export interface Variation {
  readonly name: string;
  readonly kind: 'ambient' | 'fixed';
  /** What a reader is told when it is the cause. */
  readonly title: string;
  readonly advice: string;
  readonly ambient: Partial<Ambient>;
  /** Whether it moves the clock: what that takes is known only when the build is run. */
  readonly clock: boolean;
  readonly fixed: FixedOverrides;
}

export interface HostAbilities {
  readonly clock: boolean;
  readonly disorderfs: boolean;
}

/** The name of the variation of date and time. */
export const CLOCK = 'clock';

/** 398 days, 7 hours, 13 minutes and 5 seconds: another year, month, day, weekday, hour, minute and second. */
export const CLOCK_OFFSET = 398 * 86_400 + 7 * 3600 + 13 * 60 + 5;

export function planVariations(definition: Definition, host: HostAbilities): { variations: Variation[]; left: string[] } {
  const { build, resources } = definition.manifest;
  const cpus = resources.cpus < availableParallelism() ? resources.cpus + 1 : resources.cpus - 1;
  const left: string[] = [];
  const ambient = (name: string, title: string, advice: string, change: Partial<Ambient>): Variation => ({
    name,
    kind: 'ambient',
    title,
    advice,
    ambient: change,
    clock: false,
    fixed: {},
  });
  const fixed = (name: string, title: string, advice: string, change: FixedOverrides): Variation => ({
    name,
    kind: 'fixed',
    title,
    advice,
    ambient: {},
    clock: false,
    fixed: change,
  });
  const variations = [
    { ...ambient(CLOCK, 'date and time', 'Use SOURCE_DATE_EPOCH instead of the current time.', {}), clock: true },
    ambient('directory-order', 'directory order', 'Sort file lists: "find | sort", $(sort $(wildcard …)), tar --sort=name.', {
      directoryOrder: 'reverse',
    }),
    ambient('address-layout', 'address layout', 'Something prints or orders by addresses: sort by name instead of by pointer.', {
      addressLayout: 'random',
    }),
    ambient('kernel', 'kernel name', 'Do not record uname; pass the target explicitly.', { kernelName: '2.6' }),
    ambient('cpu-model', 'CPU model', 'Do not tune for the building machine: no -march=native.', {
      cpuModel: 'Lockstep Imaginary CPU @ 1.00GHz',
    }),
    ambient('memory', 'memory size', 'Do not derive sizes from the building machine’s memory.', { memoryTotalMb: 3001 }),
    ambient('load', 'load', 'A race: something depends on which of two steps is done first.', { load: resources.cpus + 1 }),
    fixed('build-path', 'build path', 'Map it away: -ffile-prefix-map=$PWD=., --remap-path-prefix, relative paths.', {
      path: `${build.path}-varied/deeper`,
    }),
    fixed('user', 'user and uid', 'Do not record who built: tar --owner=0 --group=0 --numeric-owner.', {
      user: 'varied',
      uid: build.uid === 2345 ? 2346 : 2345,
    }),
    fixed('umask', 'umask', 'Set modes explicitly: install -m, tar --mode.', { umask: build.umask.endsWith('002') ? 0o022 : 0o002 }),
    fixed('hostname', 'host name', 'Do not record where it was built.', { hostname: 'varied-host' }),
    fixed('timezone', 'time zone', 'Use UTC: date -u, TZ=UTC.', { env: { TZ: 'VAR-13:45' } }),
    fixed('locale', 'locale', 'Fix it where order or text matters: LC_ALL=C sort.', {
      env: { LC_ALL: build.locale === 'C' ? 'C.UTF-8' : 'C' },
    }),
    fixed('home', 'home directory', 'Do not record $HOME or read files from it.', { home: '/home/varied' }),
    fixed('environment', 'environment variables', 'Do not record the environment.', {
      env: { LOCKSTEP_NOISE: 'varied', EDITOR: '/bin/varied' },
    }),
  ];
  if (cpus >= 1) variations.push(fixed('cpus', 'CPU count', 'The result must not depend on how parallel the build is.', { cpus }));
  else left.push('cpus: this host has one CPU');
  const able = variations.filter((one) => (one.name !== CLOCK || host.clock) && (one.name !== 'directory-order' || host.disorderfs));
  if (!host.clock) left.push('clock: neither the environment nor this host has a C compiler for the clock library');
  if (!host.disorderfs) left.push('directory-order: disorderfs or /dev/fuse is missing');
  return { variations: able, left };
}

/** @param clock the plan for a build whose clock is not varied (pinned, or null), and for one whose clock is */
export function conditionsOf(
  variations: readonly Variation[],
  clock: { readonly normal: ClockPlan | null; readonly moved: ClockPlan | null },
): Conditions {
  let ambient: Ambient = NO_VARIATION;
  let fixed: FixedOverrides = {};
  for (const one of variations) {
    ambient = { ...ambient, ...one.ambient };
    fixed = { ...fixed, ...one.fixed, env: { ...fixed.env, ...one.fixed.env } };
  }
  // One busy process for each CPU that the build really has, and one more.
  if (ambient.load !== null && fixed.cpus !== undefined) ambient = { ...ambient, load: fixed.cpus + 1 };
  return { ambient, fixed, clock: variations.some((one) => one.clock) ? clock.moved : clock.normal };
}
