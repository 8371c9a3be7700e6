/** Which ambient facts can by themselves explain a disagreement, given who had which and who came to what. */
import { canonicalText } from '../json/canonical.ts';
import type { Ambient } from './deal.ts';

export interface ObservedResult {
  readonly ambient: Ambient;
  /** Equal for equal results. */
  readonly result: string;
}

/**
 * A fact explains a disagreement alone if builders with the same level of it came to the same result. None: more than one
 * cause, an unstable build, or something that was not varied on purpose.
 */
export function suspectsOf(results: readonly ObservedResult[]): string[] {
  const facts = new Set(results.flatMap(({ ambient }) => Object.keys(ambient)));
  return [...facts].sort().filter((fact) => {
    const resultAt = new Map<string, string>();
    return results.every(({ ambient, result }) => {
      const level = levelOf(ambient, fact);
      const other = resultAt.get(level);
      resultAt.set(level, result);
      return other === undefined || other === result;
    });
  });
}

/** Facts in which at least two of these differ. */
export function coveredFacts(ambients: readonly Ambient[]): string[] {
  const facts = new Set(ambients.flatMap((ambient) => Object.keys(ambient)));
  return [...facts].sort().filter((fact) => new Set(ambients.map((ambient) => levelOf(ambient, fact))).size > 1);
}

function levelOf(ambient: Ambient, fact: string): string {
  const level = Object.hasOwn(ambient, fact) ? ambient[fact] : undefined;
  return level === undefined ? 'as it is' : canonicalText(level);
}
