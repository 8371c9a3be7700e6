/**
 * `build --vary`: twice under identical conditions, then under all variations at once, and if bytes differ, bisect.
 * A build that differs from itself is unstable, and no variation is blamed for that.
 */
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Definition } from '@lockstep/protocol/definition/definition';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type BuildOutcome, prepareBuild, runBuild } from '../build/build.ts';
import { NORMAL } from '../build/job.ts';
import { type Difference, whereTheyDiffer } from '../compare/difference.ts';
import type { Context } from '../context.ts';
import { findOnPath } from '../fetch/program.ts';
import { findCauses, remembered } from './bisect.ts';
import { conditionsOf, type HostAbilities, planVariations, type Variation } from './variations.ts';

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

export async function vary(context: Context, definition: Definition, only: readonly string[] | null): Promise<VaryReport> {
  const environment = await prepareBuild(context, definition);
  const planned = planVariations(definition, hostAbilities());
  const tried = choose(planned.variations, only);
  let builds = 0;
  const buildUnder = async (title: string, variations: readonly Variation[]): Promise<Run> => {
    builds++;
    try {
      return { outcome: await runBuild(context, definition, environment, conditionsOf(variations), title) };
    } catch (error) {
      if (error instanceof LockstepError && error.code === 'BUILD_FAILED' && variations.length > 0)
        return { failure: `${error.reason ?? 'failed'}: ${error.message}` };
      throw error;
    }
  };
  const runs = new Map<string, Run>();
  const normal = await runBuild(context, definition, environment, NORMAL, 'build');
  builds++;
  await nextSecond();
  const again = await buildUnder('build again under identical conditions', []);
  const base = { tried, left: planned.left, normal };
  const unstable = (other: Run): VaryReport => ({
    ...base,
    verdict: 'unstable',
    causes: [],
    differences: 'outcome' in other ? differences(context, normal, other.outcome) : [],
    builds,
  });
  if (!sameRun(normal, again)) return unstable(again);
  const differs = remembered<Variation>(
    async (applied) => {
      const title =
        applied.length === tried.length
          ? `build under ${applied.length} variations`
          : `build under ${applied.map((one) => one.title).join(', ')}`;
      const run = await buildUnder(title, applied);
      runs.set(keyOf(applied), run);
      return !sameRun(normal, run);
    },
    (one) => one.name,
  );
  const sets = await findCauses(tried, differs);
  if (sets.length === 0 && !(await differs(tried))) return { ...base, verdict: 'equal', causes: [], differences: [], builds };
  // Before a variation is blamed: is the build still itself? And does the cause still act?
  const control = await buildUnder('build once more under identical conditions', []);
  if (!sameRun(normal, control) || sets.length === 0) return unstable(control);
  const causes: Cause[] = [];
  for (const variations of sets) {
    const run =
      runs.get(keyOf(variations)) ?? (await buildUnder(`build under ${variations.map((one) => one.title).join(', ')}`, variations));
    causes.push(
      'outcome' in run
        ? { variations, differences: differences(context, normal, run.outcome), failure: null }
        : { variations, differences: [], failure: run.failure },
    );
  }
  return { ...base, verdict: 'differs', causes, differences: [], builds };
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

export function hostAbilities(): HostAbilities {
  const libraries = ['/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1', '/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1'];
  return { faketime: libraries.some((path) => existsSync(path)), disorderfs: findOnPath('disorderfs') !== null && existsSync('/dev/fuse') };
}

/** A timestamp to the second would pass for equal in two builds of the same second. */
async function nextSecond(): Promise<void> {
  await delay(1100);
}

function keyOf(applied: readonly Variation[]): string {
  return applied
    .map((one) => one.name)
    .sort()
    .join(' ');
}

function sameRun(normal: BuildOutcome, run: Run): boolean {
  return 'outcome' in run && fingerprint(normal) === fingerprint(run.outcome);
}

function fingerprint(outcome: BuildOutcome): string {
  return outcome.outputs.map((output) => `${output.name}\0${output.digest.sha256}\0${output.executable}`).join('\n');
}

function differences(context: Context, a: BuildOutcome, b: BuildOutcome): Difference[] {
  const names = [...new Set([...a.outputs, ...b.outputs].map((output) => output.name))];
  return names.flatMap((name): Difference[] => {
    const left = a.outputs.find((output) => output.name === name);
    const right = b.outputs.find((output) => output.name === name);
    if (left === undefined || right === undefined)
      return [
        {
          file: name,
          offset: null,
          where: left === undefined ? 'only in the second' : 'only in the first',
          sizes: [left?.size ?? null, right?.size ?? null],
          left: '',
          right: '',
        },
      ];
    const path = (digest: Sha256): string => context.store.blobs.path(digest);
    const found = whereTheyDiffer(name, path(left.digest.sha256), path(right.digest.sha256));
    if (found !== null) return [found];
    return left.executable === right.executable
      ? []
      : [
          {
            file: name,
            offset: null,
            where: 'the executable bit',
            sizes: [left.size, right.size],
            left: String(left.executable),
            right: String(right.executable),
          },
        ];
  });
}
