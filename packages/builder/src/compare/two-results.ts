/**
 * Two builders came to different results: repeat one's conditions to see whether the build is stable by itself, then bisect
 * over the ambient facts in which the two differed.
 */
import type { Definition } from '@lockstep/protocol/definition/definition';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { canonicalText } from '@lockstep/protocol/json/canonical';
import type { Ambient } from '@lockstep/protocol/variation/deal';
import { setTimeout as delay } from 'node:timers/promises';
import { type BuildOutcome, prepareBuild, runBuild } from '../build/build.ts';
import type { Context } from '../context.ts';
import { findCauses, remembered } from '../vary/bisect.ts';
import { dealtConditions, libraryFor } from '../vary/dealt.ts';
import { differences, same } from '../vary/outcomes.ts';
import type { Difference } from './difference.ts';

export interface ResultConditions {
  readonly ambient: Ambient;
  /** SHA-256 of each output that was attested, by name. */
  readonly outputs: ReadonlyMap<string, string>;
}

export interface TwoResultsReport {
  /** `unstable`: it differs from itself. `cause`: named. `neither`: equal here under both; what they differ by is not the build's conditions. */
  readonly verdict: 'unstable' | 'cause' | 'neither';
  readonly facts: readonly string[];
  readonly causes: readonly {
    readonly facts: readonly string[];
    readonly differences: readonly Difference[];
    readonly failure: string | null;
  }[];
  readonly differences: readonly Difference[];
  /** Whether what each attested came out here under its own conditions; null when it was not built here. */
  readonly reproduced: { readonly first: boolean; readonly second: boolean | null };
  readonly builds: number;
}

export async function compareTwoResults(
  context: Context,
  definition: Definition,
  first: ResultConditions,
  second: ResultConditions,
): Promise<TwoResultsReport> {
  const environment = await prepareBuild(context, definition);
  const facts = [...new Set([...Object.keys(first.ambient), ...Object.keys(second.ambient)])]
    .filter((fact) => levelText(first.ambient, fact) !== levelText(second.ambient, fact))
    .sort();
  let builds = 0;
  const buildUnder = async (ambient: Ambient, title: string): Promise<BuildOutcome | string> => {
    builds++;
    const conditions = dealtConditions(ambient, context.now(), await libraryFor(context, environment, ambient));
    try {
      return await runBuild(context, definition, environment, conditions, title);
    } catch (error) {
      if (error instanceof LockstepError && error.code === 'BUILD_FAILED') return `${error.reason ?? 'failed'}: ${error.message}`;
      throw error;
    }
  };
  const required = async (title: string): Promise<BuildOutcome> => {
    const outcome = await buildUnder(first.ambient, title);
    if (typeof outcome === 'string')
      throw new LockstepError('BUILD_FAILED', `Under the first one’s conditions the build fails: ${outcome}`, 'Build it by itself first.');
    return outcome;
  };
  const base = await required('build under the first one’s conditions');
  // A time to the second would pass for equal in two builds of the same second.
  await delay(1100);
  const again = await required('build again under the same conditions');
  const report = (verdict: TwoResultsReport['verdict'], more: Partial<TwoResultsReport>): TwoResultsReport => ({
    verdict,
    facts,
    causes: [],
    differences: [],
    reproduced: { first: isAttested(base, first), second: null },
    builds,
    ...more,
  });
  if (!same(base, again)) return report('unstable', { differences: differences(context, base, again) });
  const runs = new Map<string, BuildOutcome | string>();
  const differs = remembered<string>(
    async (applied) => {
      const run = await buildUnder(withLevels(first.ambient, second.ambient, applied), `build with the second one’s ${applied.join(', ')}`);
      runs.set(applied.join(' '), run);
      return typeof run === 'string' || !same(base, run);
    },
    (fact) => fact,
  );
  const sets = await findCauses(facts, differs);
  const whole = runs.get(facts.join(' '));
  const reproduced = {
    first: isAttested(base, first),
    second:
      facts.length === 0 ? isAttested(base, second) : whole === undefined || typeof whole === 'string' ? null : isAttested(whole, second),
  };
  const causes = sets.map((set) => {
    const run = runs.get(set.join(' '));
    return run === undefined || typeof run === 'string'
      ? { facts: set, differences: [], failure: run ?? null }
      : { facts: set, differences: differences(context, base, run), failure: null };
  });
  return report(causes.length > 0 ? 'cause' : 'neither', { causes, reproduced });
}

function levelText(ambient: Ambient, fact: string): string {
  return Object.hasOwn(ambient, fact) ? canonicalText(ambient[fact] ?? null) : '';
}

/** The first one's conditions, but for these facts, which are the second one's. */
export function withLevels(first: Ambient, second: Ambient, facts: readonly string[]): Ambient {
  const kept = Object.entries(first).filter(([fact]) => !facts.includes(fact));
  const taken = Object.entries(second).filter(([fact]) => facts.includes(fact));
  return Object.fromEntries([...kept, ...taken]);
}

function isAttested(outcome: BuildOutcome, result: ResultConditions): boolean {
  const built = new Map<string, Sha256>(outcome.outputs.map((one) => [one.name, one.digest.sha256]));
  return built.size === result.outputs.size && [...result.outputs].every(([name, sha256]) => built.get(name) === sha256);
}
