/**
 * SLSA v1.2 verification summary (predicate https://slsa.dev/verification_summary/v1): what was verified about a release,
 * and by which policy. The levels follow from the evidence, and are never more than it shows.
 */
import type { Json } from '../json/parse.ts';
import { canonicalBytes } from '../json/canonical.ts';
import { STATEMENT_TYPE } from '../statement/statement.ts';
import type { ReleaseRecord } from './release-record.ts';

export const VSA_TYPE = 'https://slsa.dev/verification_summary/v1';
/** Names the build that a summary is about. */
export const BUILD_URN = 'urn:lockstep:build:';

/**
 * The container tier is at most Build L2: the kernel is shared, so builds are not isolated as L3 asks. Builders that were
 * only declared on one machine show no hosted platform: L1. Reproduced is claimed for builders of two operators or more,
 * since SLSA asks for platforms that are operated independently.
 */
export function verifiedLevels(of: {
  readonly quorum: { readonly builders: readonly { readonly operator: string; readonly simulated: boolean }[] };
}): string[] {
  const { builders } = of.quorum;
  const simulated = builders.some((one) => one.simulated);
  const operators = new Set(builders.map((one) => one.operator));
  return [simulated ? 'SLSA_BUILD_LEVEL_1' : 'SLSA_BUILD_LEVEL_2', ...(!simulated && operators.size >= 2 ? ['SLSA_BUILD_REPRODUCED'] : [])];
}

/** The one summary that a record gives. */
export function vsaBytes(record: ReleaseRecord): Uint8Array {
  const statement: Json = {
    _type: STATEMENT_TYPE,
    subject: record.files.map(({ name, size, sha256, sha512, blake2b512 }) => ({
      name,
      digest: { sha256, sha512, blake2b512 },
      annotations: { size },
    })),
    predicateType: VSA_TYPE,
    predicate: {
      verifier: { id: `urn:lockstep:policy:${encodeURIComponent(record.policy.name)}` },
      timeVerified: record.time,
      resourceUri: `${BUILD_URN}${record.build_id}`,
      policy: {
        uri: `urn:lockstep:policy:${encodeURIComponent(record.policy.name)}:${record.policy.version}`,
        digest: { sha256: record.policy.sha256 },
      },
      inputAttestations: record.quorum.builders.map(({ name, statement: sha256 }) => ({
        uri: `urn:lockstep:builder:${encodeURIComponent(name)}`,
        digest: { sha256 },
      })),
      verificationResult: 'PASSED',
      verifiedLevels: verifiedLevels(record),
      slsaVersion: '1.2',
    },
  };
  return canonicalBytes(statement);
}
