/** Failure domains: what fails together. Two are independent only if operator and site both differ. */

export interface FailureDomain {
  readonly operator: string;
  readonly site: string;
  /** Host system and runtime: told, so that a common bug can be seen; it does not make two builders independent. */
  readonly lineage: string;
  /** Domains that are declared on one machine, for trying things out. */
  readonly simulated: boolean;
}

/**
 * The largest number of pairwise independent domains: a matching of operators with sites, found by augmenting paths
 * (Kuhn). Counting operators alone would let one operator with two sites and two operators at one site count as three.
 */
export function independentDomains(domains: readonly Pick<FailureDomain, 'operator' | 'site'>[]): number {
  const operatorAt = new Map<string, string>();
  const sites = new Map<string, Set<string>>();
  for (const { operator, site } of domains) {
    const known = sites.get(operator) ?? new Set();
    sites.set(operator, known.add(site));
  }
  const place = (operator: string, tried: Set<string>): boolean => {
    for (const site of sites.get(operator) ?? []) {
      if (tried.has(site)) continue;
      tried.add(site);
      const other = operatorAt.get(site);
      if (other !== undefined && !place(other, tried)) continue;
      operatorAt.set(site, operator);
      return true;
    }
    return false;
  };
  return [...sites.keys()].filter((operator) => place(operator, new Set())).length;
}
