/**
 * `build --vary`: twice under identical conditions, then under all variations at once, and if bytes differ, bisect.
 * A build that differs from itself is unstable, and no variation is blamed for that.
 */
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Definition } from '@lockstep/protocol/definition/definition';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type BuildOutcome, prepareBuild, runBuild } from '../build/build.ts';
import type { ClockPlan } from '../build/job.ts';
import type { Difference } from '../compare/difference.ts';
import type { Context } from '../context.ts';
import { findOnPath } from '../fetch/program.ts';
import { findCauses, remembered } from './bisect.ts';
import { differences, same } from './outcomes.ts';
import { clockLibrary } from './clock-library.ts';
import { CLOCK_OFFSET, conditionsOf, planVariations, type Variation } from './variations.ts';

export interface Cause {
  readonly variations: readonly Variation[];
  /** What differs between the normal build and the build under this cause alone; or how that build failed. */
  readonly differences: readonly Difference[];
  readonly failure: string | null;
}

export interface VaryReport {
  readonly verdict: 'equal' | 'differs' | 'unstable';
  readonly tried: readonly Variation[];
  /** Variations that this host cannot make, each with its reason. */
  readonly left: readonly string[];
  readonly causes: readonly Cause[];
  /** For `unstable`: what differed between two builds under the same conditions. */
  readonly differences: readonly Difference[];
  readonly builds: number;
  readonly normal: BuildOutcome;
}

type Run = { readonly outcome: BuildOutcome } | { readonly failure: string };

/** A thousandth of real time: a build of ten minutes sees less than a second go by. */
const PINNED_SLOWDOWN = 1000;

export async function vary(context: Context, definition: Definition, only: readonly string[] | null): Promise<VaryReport> {
  const environment = await prepareBuild(context, definition);
  const library = await clockLibrary(context, environment);
  const planned = planVariations(definition, { clock: library !== null, disorderfs: hasDisorderfs() });
  const tried = choose(planned.variations, only);
  let builds = 0;
  const buildUnder = async (title: string, variations: readonly Variation[], pinned: ClockPlan | null): Promise<Run> => {
    builds++;
    const moved = library === null ? null : { library, startAt: Math.floor(context.now()) + CLOCK_OFFSET, slowdown: 1 };
    try {
      return { outcome: await runBuild(context, definition, environment, conditionsOf(variations, { normal: pinned, moved }), title) };
    } catch (error) {
      // A failure under a variation is a difference; one in a normal build is the user's to mend first.
      if (error instanceof LockstepError && error.code === 'BUILD_FAILED' && variations.length > 0)
        return { failure: `${error.reason ?? 'failed'}: ${error.message}` };
      throw error;
    }
  };
  const normalBuild = async (title: string, pinned: ClockPlan | null): Promise<BuildOutcome> => {
    const run = await buildUnder(title, [], pinned);
    if ('failure' in run) throw new TypeError('a normal build throws when it fails');
    return run.outcome;
  };
  const first = await normalBuild('build', null);
  // A time to the second would pass for equal in two builds of the same second.
  await delay(1100);
  const second = await normalBuild('build again under identical conditions', null);
  let baseline = { outcome: first, pinned: null as ClockPlan | null };
  const causes: Cause[] = [];
  const report = (verdict: VaryReport['verdict'], rest: Partial<VaryReport>): VaryReport => ({
    verdict,
    tried,
    left: planned.left,
    causes: [],
    differences: [],
    builds,
    normal: first,
    ...rest,
  });
  if (!same(first, second)) {
    // Only the time went on between the two. With the clock pinned, is it still different?
    const clock = tried.find((one) => one.clock);
    if (clock === undefined || library === null) return report('unstable', { differences: differences(context, first, second) });
    const pinned = { library, startAt: Math.floor(context.now()), slowdown: PINNED_SLOWDOWN };
    const third = await normalBuild('build with the clock pinned', pinned);
    const fourth = await normalBuild('build again with the clock pinned', pinned);
    if (!same(third, fourth)) return report('unstable', { differences: differences(context, third, fourth) });
    causes.push({ variations: [clock], differences: differences(context, first, second), failure: null });
    baseline = { outcome: third, pinned };
  }
  const suspects = tried.filter((one) => !causes.some((cause) => cause.variations.includes(one)));
  const runs = new Map<string, Run>();
  const differs = remembered<Variation>(async (applied) => {
    const title = applied.length === tried.length ? `build under ${applied.length} variations` : `build under ${titles(applied)}`;
    const run = await buildUnder(title, applied, baseline.pinned);
    runs.set(keyOf(applied), run);
    return 'failure' in run || !same(baseline.outcome, run.outcome);
  }, nameOf);
  const sets = await findCauses(suspects, differs);
  // It differed as a whole, and in no part: nothing can be blamed.
  if (sets.length === 0 && suspects.length > 0 && (await differs(suspects))) return report('unstable', {});
  if (sets.length > 0) {
    // Before a variation is blamed: is the build still itself?
    const control = await normalBuild('build once more under identical conditions', baseline.pinned);
    if (!same(baseline.outcome, control)) return report('unstable', { differences: differences(context, baseline.outcome, control) });
  }
  for (const variations of sets) {
    const run = runs.get(keyOf(variations)) ?? (await buildUnder(`build under ${titles(variations)}`, variations, baseline.pinned));
    causes.push(
      'outcome' in run
        ? { variations, differences: differences(context, baseline.outcome, run.outcome), failure: null }
        : { variations, differences: [], failure: run.failure },
    );
  }
  return report(causes.length === 0 ? 'equal' : 'differs', { causes });
}

const nameOf = (one: Variation): string => one.name;

function titles(variations: readonly Variation[]): string {
  return variations.map((one) => one.title).join(', ');
}

function choose(variations: readonly Variation[], only: readonly string[] | null): Variation[] {
  if (only === null) return [...variations];
  const unknown = only.find((name) => !variations.some((one) => one.name === name));
  if (unknown !== undefined)
    throw new LockstepError(
      'USAGE',
      `There is no variation ${JSON.stringify(unknown)} on this host`,
      `There are: ${variations.map((one) => one.name).join(', ')}.`,
    );
  return variations.filter((one) => only.includes(one.name));
}

export function hasDisorderfs(): boolean {
  return findOnPath('disorderfs') !== null && existsSync('/dev/fuse');
}

function keyOf(applied: readonly Variation[]): string {
  return applied.map(nameOf).sort().join(' ');
}
