/** The first policy of a farm on one machine: this builder alone, everything from it trusted only where it says so. */
import type { Json } from '@lockstep/protocol/json/parse';

export interface DraftParts {
  readonly name: string;
  readonly builderKey: string;
  readonly coordinatorKey: string;
  readonly operator: string;
  readonly site: string;
  readonly lineage: string;
  /** RFC 3339. */
  readonly expires: string;
}

export function draftPolicy(parts: DraftParts): Json {
  return {
    schema: 'lockstep-policy/v1',
    name: parts.name,
    version: 1,
    expires: parts.expires,
    builders: [
      {
        name: 'this-machine',
        key: parts.builderKey,
        domain: { operator: parts.operator, site: parts.site, lineage: parts.lineage, simulated: false },
      },
    ],
    coordinators: [{ name: 'coordinator', key: parts.coordinatorKey }],
    logs: [],
    witnesses: [],
    witness_quorum: 'none',
    rules: [{ packages: '*', tier: 'container', quorum: 1, sources: ['*'] }],
  };
}
