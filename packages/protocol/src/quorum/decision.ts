/** A decision as data: the same facts give the same bytes, wherever it is made. */
import type { ClaimedOutput } from './claim.ts';

export type QuorumResult =
  /** k builders from k independent domains agree on every output, and nobody disagrees. */
  | 'agreed'
  /** Builders disagree: held, whatever the numbers are, until arbiters say. */
  | 'disputed'
  /** They disagreed, and arbiters have accepted one result, on which k independent builders agree. */
  | 'resolved'
  /** They disagreed, and arbiters have accepted none. */
  | 'rejected'
  /** Nobody disagrees, and something is missing yet. */
  | 'pending'
  /** The policy does not take this at all. */
  | 'refused';

export interface DecidedBuilder {
  readonly name: string;
  readonly key: string;
  readonly operator: string;
  readonly site: string;
  readonly lineage: string;
  readonly simulated: boolean;
  readonly state: 'counted' | 'not counted' | 'absent';
  /** Why it is not counted; '' when it is. */
  readonly reason: string;
  readonly statement: string | null;
  /** Digest of its outputs. */
  readonly outputs: string | null;
}

export interface DecidedGroup {
  readonly digest: string;
  readonly builders: readonly string[];
  /** Pairwise independent failure domains among them, at most. */
  readonly independent: number;
  readonly outputs: readonly ClaimedOutput[];
}

export interface Decision {
  readonly schema: 'lockstep-decision/v1';
  readonly build_id: string;
  readonly package: { readonly name: string; readonly version: string };
  readonly tier: string;
  readonly policy: { readonly name: string; readonly version: number; readonly sha256: string };
  /** Number of the rule that decided, from 1; null when none fits. */
  readonly rule: number | null;
  readonly round: number | null;
  readonly result: QuorumResult;
  readonly reason: string;
  readonly threshold: number;
  /** Builders that the policy lists for it: the denominator, whoever answers. */
  readonly of: number;
  /** Digest of the outputs that count; null unless agreed or resolved. */
  readonly accepted: string | null;
  readonly groups: readonly DecidedGroup[];
  /** Outputs on which they differ: for each value who has it; null for "no such output". */
  readonly differences: readonly {
    readonly output: string;
    readonly values: readonly { readonly sha256: string | null; readonly builders: readonly string[] }[];
  }[];
  readonly builders: readonly DecidedBuilder[];
  /** Names the disagreement for arbiters; null when there is none. */
  readonly dispute: string | null;
  readonly resolution: { readonly arbiters: readonly string[]; readonly reasons: readonly string[] } | null;
  readonly variations: { readonly required: readonly string[]; readonly covered: readonly string[]; readonly missing: readonly string[] };
  /** On a disagreement: ambient facts that alone would explain it. */
  readonly suspects: readonly string[];
  readonly checks: readonly string[];
  /** Whether domains that were only declared on one machine were counted. */
  readonly simulated: boolean;
  readonly notes: readonly string[];
}
