/**
 * The tables. The database is an index: submissions, documents and decisions can be made again from the content store and
 * the log (reindex); queue positions, leases, tokens and counters cannot, and need not.
 *
 * Times are milliseconds since 1970, digests are hex, JSON is text: the same on SQLite and PostgreSQL.
 */
import type { Generated } from 'kysely';

export interface Jobs {
  /** Build id: one job for a definition, however often it is submitted. */
  job: string;
  /** Place in the queue; rises with every job. */
  position: Generated<number>;
  name: string;
  version: string;
  source: string;
  tier: string;
  architecture: string;
  /** What a builder has to have: lockstep-needs, JSON. */
  needs: string;
  /** queued, building, revealing, disputed, decided, failed, cancelled */
  state: string;
  reason: string;
  submitter: string;
  priority: number;
  /** Order in the queue: the more urgent first, then the older (rankOf). */
  rank: number;
  submitted_at: number;
  updated_at: number;
  /** 1 unless it waits for `not_before`: so that whatever waits is not looked at again and again. */
  ready: number;
  /** Not dispatched before: back-off, or no builder can do it now. */
  not_before: number;
  /** k of the policy's rule. */
  quorum: number;
  /** 1 where the rule asks for commitments. */
  commitments: number;
  /** Number of the newest round; 0 before the first. */
  round: number;
  /** Digest of the newest opening document; null where there are no commitments. */
  opening: string | null;
  /** Whose time this is: for commitments, then for reveals. */
  deadline: number;
  /** Tasks of this round that are leased, committed or revealed. */
  taken: number;
  /** Rounds that came to nothing. */
  failures: number;
  /** 1 when an attempt failed and another one under the same conditions did not, or a builder disagreed with itself. */
  flaky: number;
  /** Decision as canonical JSON; null before there is one. */
  decision: string | null;
  outcome_index: number | null;
  /** Who has approved it as a release, as far as this farm knows; null: nobody, it is unsigned. */
  approval: string | null;
  /** 1 when a fact came in that nobody has looked at: the reconciler's mark. */
  due: number;
}

export interface Submissions {
  submission: string;
  job: string;
  submitter: string;
  priority: number;
  submitted_at: number;
}

/** One builder's part of a round. */
export interface Tasks {
  job: string;
  round: number;
  /** Name of the builder. */
  builder: string;
  /** offered, leased, committed, revealed, failed, closed */
  state: string;
  ambient: string;
  /** As the job's. */
  rank: number;
  not_before: number;
  attempt: number | null;
}

export interface Attempts {
  /** The fencing number. */
  attempt: Generated<number>;
  job: string;
  round: number;
  builder: string;
  /** leased, committed, revealed, failed, expired, cancelled, superseded */
  state: string;
  /** SHA-256 of the lease token. */
  token: string;
  /** SHA-256 of the transport key that leased it. */
  transport_key: string;
  leased_at: number;
  expires_at: number;
  ended_at: number | null;
  failure: string | null;
  /** Digest of the statement's signed bytes, once revealed. */
  statement: string | null;
  /** Digests that are still to be uploaded, JSON list; null before the reveal. */
  wanted: string | null;
  transcript_bytes: number;
  /** Digest of the whole transcript in the content store. */
  transcript: string | null;
}

export interface TranscriptChunks {
  attempt: number;
  /** Offset of its first byte. */
  start: number;
  bytes: Uint8Array;
}

/** Signed documents: stored before they are acknowledged, then logged in the order of `document`. */
export interface Documents {
  document: Generated<number>;
  job: string;
  /** SHA-256 of the pre-authentication encoding. */
  digest: string;
  payload_type: string;
  /** null once it is logged and decided: the log has it. */
  payload: Uint8Array | null;
  signature: Uint8Array;
  /** DER SubjectPublicKeyInfo. */
  key: Uint8Array;
  signer: string;
  accepted_at: number;
  log_index: number | null;
}

export interface Builders {
  name: string;
  attestation_key: string;
  transport_key: string;
  /** active, draining, retired */
  state: string;
  capabilities: string | null;
  last_seen: number | null;
  enrolled_at: number;
  certificate_expires: number;
}

export interface JoinTokens {
  /** SHA-256 of the token. */
  token: string;
  name: string;
  fingerprint: string;
  expires_at: number;
  used_at: number | null;
}

export interface Tokens {
  /** SHA-256 of the token. */
  token: string;
  name: string;
  role: string;
  created_at: number;
  expires_at: number | null;
  revoked_at: number | null;
}

/** Inputs that a submitter has shown to have, by uploading them. */
export interface Inputs {
  sha256: string;
  submitter: string;
  size: number;
  uploaded_at: number;
}

/** How much of the farm each submitter has had: the fair share goes to whoever has had least for their share. */
export interface Shares {
  submitter: string;
  share: number;
  used: number;
}

export interface Audit {
  id: Generated<number>;
  at: number;
  who: string;
  role: string;
  action: string;
  subject: string;
  status: number;
}

/** Who does what only one replica needs to do. Losing one is no harm: the work itself is safe on many. */
export interface Leaders {
  duty: string;
  holder: string;
  until: number;
}

export interface Facts {
  name: string;
  value: string;
}

export interface Tables {
  jobs: Jobs;
  submissions: Submissions;
  tasks: Tasks;
  attempts: Attempts;
  transcript_chunks: TranscriptChunks;
  documents: Documents;
  builders: Builders;
  join_tokens: JoinTokens;
  tokens: Tokens;
  inputs: Inputs;
  shares: Shares;
  audit: Audit;
  leaders: Leaders;
  facts: Facts;
}

/** In the order in which they can be copied. */
export const TABLE_NAMES = [
  'jobs',
  'submissions',
  'tasks',
  'attempts',
  'transcript_chunks',
  'documents',
  'builders',
  'join_tokens',
  'tokens',
  'inputs',
  'shares',
  'audit',
  'leaders',
  'facts',
] as const satisfies readonly (keyof Tables)[];
