/** What every part of the control plane is given. Nothing of it is state of a process: replicas share database, storage and log. */
import type { DocumentKind } from '@lockstep/protocol/dsse/document';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import type { PublicKey } from '@lockstep/protocol/key/p256';
import type { Policy } from '@lockstep/protocol/policy/policy';
import type { Objects } from '@lockstep/store/objects/objects';
import type { Database } from './database/database.ts';
import type { Journal } from './observe/journal.ts';
import type { Metrics } from './observe/metrics.ts';
import type { Troubles } from './observe/troubles.ts';
import type { UploadQuota } from './content/upload-quota.ts';

export interface Farm {
  readonly name: string;
  readonly version: string;
  readonly database: Database;
  readonly objects: Objects;
  readonly log: FarmLog;
  /** The signed policy of today. @throws LockstepError POLICY_UNTRUSTED when it has expired */
  readonly policy: () => Policy;
  /** Signs as the coordinator: an online key, which can delay or hide, and never substitute. */
  /** Id of the key that signs so. */
  readonly coordinatorKey: string;
  readonly sign: <T>(kind: DocumentKind<T>, value: T) => SignedDocument;
  readonly quota: UploadQuota;
  readonly limits: FarmLimits;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly journal: Journal;
  readonly metrics: Metrics;
  readonly troubles: Troubles;
  /** Names this process among replicas. */
  readonly replica: string;
}

export interface FarmLimits {
  /** Jobs that wait; more are answered with 503. */
  readonly queue: number;
  /** Seconds without a heartbeat after which a lease is over. */
  readonly leaseSeconds: number;
  /** Seconds without a word after which a builder counts as away. */
  readonly aliveSeconds: number;
  /** Seconds that a round waits for reveals and uploads. */
  readonly revealSeconds: number;
  /** Seconds beyond a build's own time limit, for fetching inputs and preparing the environment. */
  readonly prepareSeconds: number;
  /** Rounds that come to nothing before a job has failed. */
  readonly rounds: number;
  /** Builders beyond the quorum that a round may fall back on. */
  readonly spares: number;
  /** Seconds of the first back-off; doubles with each failure. */
  readonly backoffSeconds: number;
  /** Bytes that may lie half uploaded for one attempt or submitter. */
  readonly uploadBytes: number;
  /** Requests a second of one caller, and how many may come at once. */
  readonly rate: { readonly perSecond: number; readonly burst: number };
  /** Whether everybody may read the log and the policy without a token. */
  readonly isPublic: boolean;
}

export const DEFAULT_LIMITS: FarmLimits = {
  queue: 200_000,
  leaseSeconds: 30,
  aliveSeconds: 60,
  revealSeconds: 600,
  prepareSeconds: 1800,
  rounds: 4,
  spares: 2,
  backoffSeconds: 5,
  uploadBytes: 64 * 2 ** 30,
  rate: { perSecond: 200, burst: 1000 },
  isPublic: true,
};

/** The farm's log, whoever sequences it. */
export interface FarmLog {
  readonly origin: string;
  /** Verifier key. */
  readonly key: string;
  /** In this order; resolves when the checkpoint that covers them is published. The same document again gets the same index. */
  append(documents: readonly SignedDocument[]): Promise<number[]>;
  /** Whether it can be appended to: says at once that it was restored, or that witnesses are away. @throws LockstepError */
  ready(): Promise<void>;
  /** Entries of the published checkpoint. */
  size(): Promise<number>;
  /** A public file. null when there is none. */
  read(path: string, maxBytes: number): Promise<Uint8Array | null>;
  /** Documents from an index on, their signatures checked; what is opaque or of another kind is left out. */
  documents(from: number): AsyncIterable<FoundDocument>;
}

export interface FoundDocument extends SignedDocument {
  readonly index: number;
  readonly digest: Sha256;
  readonly buildId: string;
}

/** A signed document with its only signature. */
export interface SignedDocument {
  readonly payloadType: string;
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
  readonly signer: PublicKey;
}

/** Whoever changes something says so; followers and the reconciler listen. */
export const CHANGED = {
  jobs: 'jobs',
  job: (job: string): string => `job ${job}`,
  transcript: (attempt: number): string => `transcript ${attempt}`,
} as const;
