/**
 * Finds which variations make a difference, with few builds. Pure but for the `differs` that it is given.
 *
 * One cause is found by QuickXplain (Junker, AAAI 2004): divide the suspects, and look in each half given the other. What
 * it returns is minimal: every member is needed. Then that cause is taken out, and the rest is tried again, until the
 * rest makes no difference: so two independent causes are both named, and two that only act together are named together.
 */

export type Differs<T> = (applied: readonly T[]) => Promise<boolean>;

/** @returns minimal sets, each of which makes a difference by itself */
export async function findCauses<T>(suspects: readonly T[], differs: Differs<T>): Promise<T[][]> {
  const causes: T[][] = [];
  let rest = [...suspects];
  while (rest.length > 0 && (await differs(rest))) {
    const cause = await minimalCause(rest, differs);
    // It differed as a whole and in no part: the difference went away by itself, which is instability, not a cause.
    if (cause.length === 0 || !(await differs(cause))) break;
    causes.push(cause);
    rest = rest.filter((one) => !cause.includes(one));
  }
  return causes;
}

async function minimalCause<T>(suspects: readonly T[], differs: Differs<T>): Promise<T[]> {
  const explain = async (background: readonly T[], added: boolean, candidates: readonly T[]): Promise<T[]> => {
    if (added && (await differs(background))) return [];
    if (candidates.length <= 1) return [...candidates];
    const half = Math.ceil(candidates.length / 2);
    const left = candidates.slice(0, half);
    const right = candidates.slice(half);
    const fromRight = await explain([...background, ...left], left.length > 0, right);
    const fromLeft = await explain([...background, ...fromRight], fromRight.length > 0, left);
    return [...fromLeft, ...fromRight];
  };
  return explain([], false, suspects);
}

/** Remembers answers, so that no set is built twice. */
export function remembered<T>(differs: Differs<T>, nameOf: (one: T) => string): Differs<T> {
  const known = new Map<string, Promise<boolean>>();
  return (applied) => {
    const key = JSON.stringify(applied.map(nameOf).sort());
    const found = known.get(key) ?? differs(applied);
    known.set(key, found);
    found.catch(() => known.delete(key));
    return found;
  };
}
