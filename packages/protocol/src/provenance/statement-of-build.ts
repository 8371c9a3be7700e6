/** The statement that a builder signs about one build. Pure: times and facts are handed in. */
import { isoTime } from '../time/iso-time.ts';
import { buildId, type Definition, definitionToJson } from '../definition/definition.ts';
import type { DigestSet } from '../digest/digest.ts';
import { BUILD_TYPE, PROVENANCE_TYPE, type Statement, STATEMENT_TYPE } from '../statement/statement.ts';
import type { Json } from '../json/parse.ts';
import { dependenciesOf } from './dependencies.ts';

export interface BuildFacts {
  readonly definition: Definition;
  readonly farmId: string;
  readonly outputs: readonly { readonly name: string; readonly size?: number; readonly digest: DigestSet }[];
  readonly sandbox: { readonly runtime: string; readonly cgroup: string; readonly kernel: string; readonly silo: string };
  readonly environmentSha256: string | null;
  /** Ambient facts that were changed on purpose; null for a build that was not varied. */
  readonly variation: Readonly<Record<string, Json>> | null;
  readonly byproducts: readonly { readonly name: string; readonly sha256: string; readonly size: number }[];
  readonly builderVersion: string;
  readonly invocationId: string;
  /** Seconds since 1970. */
  readonly startedOn: number;
  readonly finishedOn: number;
}

export function statementOfBuild(facts: BuildFacts): Statement {
  const { definition } = facts;
  return {
    _type: STATEMENT_TYPE,
    subject: facts.outputs.map(({ name, size, digest }) => ({
      name,
      digest: { sha256: digest.sha256, sha512: digest.sha512, blake2b512: digest.blake2b512 },
      annotations: size === undefined ? null : { size },
    })),
    predicateType: PROVENANCE_TYPE,
    predicate: {
      buildDefinition: {
        buildType: BUILD_TYPE,
        externalParameters: { farm_id: facts.farmId, source_ref: definition.lock.source.ref, definition: definitionToJson(definition) },
        internalParameters: {
          build_id: buildId(definition),
          tier: 'container',
          sandbox: facts.sandbox,
          variation: facts.variation === null ? null : { ambient: facts.variation },
          environment: {
            kind: definition.lock.environment.kind,
            pinned: definition.lock.environment.kind === 'host' ? 'no' : 'yes',
            sha256: facts.environmentSha256,
          },
        },
        resolvedDependencies: dependenciesOf(definition),
      },
      runDetails: {
        builder: { id: `urn:lockstep:farm:${facts.farmId}`, version: { lockstep: facts.builderVersion } },
        metadata: { invocationId: facts.invocationId, startedOn: isoTime(facts.startedOn), finishedOn: isoTime(facts.finishedOn) },
        byproducts: facts.byproducts.map(({ name, sha256, size }) => ({ name, digest: { sha256 }, size })),
      },
    },
  };
}
