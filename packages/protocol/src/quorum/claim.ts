/** What one builder says came out of a definition, and whether that may be counted. */
import type { Definition } from '../definition/definition.ts';
import type { Sha256 } from '../digest/digest.ts';
import { sha256Hex } from '../digest/digest.ts';
import { canonicalBytes } from '../json/canonical.ts';
import { isProblem, readProvenance } from '../provenance/read-provenance.ts';
import type { Ambient } from '../variation/deal.ts';

export interface ClaimedOutput {
  readonly name: string;
  /** Bytes; not there in statements of older builders, which cannot be released. */
  readonly size?: number;
  readonly sha256: string;
  readonly sha512: string;
  readonly blake2b512: string;
}

export interface Claim {
  /** SHA-256 of the pre-authentication encoding of the statement. */
  readonly statement: Sha256;
  /** Id of the key that signed it. */
  readonly signer: Sha256;
  readonly definition: Definition;
  readonly buildId: string;
  readonly outputs: readonly ClaimedOutput[];
  readonly ambient: Ambient;
  /** Whether the environment is pinned by digest, and by which. */
  readonly environment: string | null;
}

/** null when it is no statement of a build that anybody could count. */
export function readClaim(payload: Uint8Array, statement: Sha256, signer: Sha256): Claim | null {
  const read = readProvenance(payload);
  if (isProblem(read)) return null;
  const { internalParameters } = read.statement.predicate.buildDefinition;
  const ambient: Ambient = internalParameters.variation?.ambient ?? {};
  return {
    statement,
    signer,
    definition: read.definition,
    buildId: read.buildId,
    // Sorted, so that the order in which a builder lists its outputs makes no difference.
    outputs: read.statement.subject
      .map(({ name, digest, annotations }) => ({
        name,
        ...(annotations === null ? {} : { size: annotations.size }),
        sha256: digest.sha256,
        sha512: digest.sha512,
        blake2b512: digest.blake2b512,
      }))
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)),
    ambient,
    environment: internalParameters.environment.sha256,
  };
}

/** Names a whole result: every output with each of its digests. */
export function outputsDigest(outputs: readonly ClaimedOutput[]): Sha256 {
  return sha256Hex(canonicalBytes(outputs.map((one) => ({ ...one }))));
}
