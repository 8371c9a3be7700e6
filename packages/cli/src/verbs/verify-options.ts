/** What `lockstep verify` can be told: one builder's key, or a root and a policy. */
export interface VerifyOptions {
  readonly attestation?: string;
  readonly key?: string;
  readonly root?: string;
  readonly unsigned?: boolean;
  readonly policy?: string;
  readonly evidence?: string;
  readonly log?: string;
  readonly source?: string;
  readonly farm?: string;
  readonly buildId?: string;
  readonly package?: string;
  readonly environment?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}
