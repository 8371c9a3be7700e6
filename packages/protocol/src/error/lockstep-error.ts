/** Every error that a user can meet has a code, a sentence and a hint. spec/errors.md has a line for each; a test compares. */
export const ERROR_CODES = [
  // usage
  'USAGE',
  'FILE_NOT_FOUND',
  // manifest and lock
  'MANIFEST_SYNTAX',
  'MANIFEST_INVALID',
  'MANIFEST_TOO_LARGE',
  'TIER_UNAVAILABLE',
  'LOCK_MISSING',
  'LOCK_INVALID',
  'LOCK_STALE',
  'JSON_INVALID',
  // sources and inputs
  'SOURCE_REF_INVALID',
  'SOURCE_MOVING',
  'SOURCE_CHANGED',
  'FETCH_FAILED',
  'FETCH_REFUSED',
  'FETCH_TOO_LARGE',
  'DIGEST_MISMATCH',
  'INPUT_GONE',
  'INIT_NOTHING_FOUND',
  // environments
  'ENVIRONMENT_UNRESOLVED',
  'ENVIRONMENT_FAILED',
  // store
  'STORE_CORRUPT',
  'STORE_BUSY',
  'STORE_UNUSABLE',
  // attestation
  'ENVELOPE_INVALID',
  'STATEMENT_INVALID',
  'KEY_INVALID',
  'FARM_ID_INVALID',
  'POLICY_INVALID',
  // log, witnesses and proofs
  'NOTE_INVALID',
  'CHECKPOINT_INVALID',
  'PROOF_INVALID',
  'BUNDLE_INVALID',
  'LOG_ENTRY_INVALID',
  'LOG_UNUSABLE',
  'LOG_CORRUPT',
  'LOG_BUSY',
  'LOG_ROLLED_BACK',
  'LOG_INCONSISTENT',
  'WITNESS_POLICY_INVALID',
  'WITNESSES_MISSING',
  // root, policy and quorum
  'ROOT_INVALID',
  'POLICY_UNTRUSTED',
  'DOCUMENT_INVALID',
  'ROUND_REFUSED',
  // the farm and its API
  'FARM_UNREACHABLE',
  'FARM_UNUSABLE',
  'UNAUTHENTICATED',
  'FORBIDDEN',
  'NOT_FOUND',
  'REQUEST_INVALID',
  'RATE_LIMITED',
  'QUEUE_FULL',
  'SUBMISSION_REFUSED',
  'INPUT_MISSING',
  'UPLOAD_INVALID',
  'ENROLMENT_REFUSED',
  'LEASE_STALE',
  'JOB_STATE',
  'NOT_AGREED',
  // signing nodes
  'SIGNING_REFUSED',
  'SIGNER_ROLLED_BACK',
  'CUSTODY_FAILED',
  'PASSPHRASE_WRONG',
  'CEREMONY_FAILED',
  'LINK_FAILED',
  // results
  'BUILD_FAILED',
  'VERIFICATION_FAILED',
  'HOST_CANNOT',
  'CANCELLED',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** Where in a file a person has to look. Lines and columns count from 1. */
export interface Location {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface ErrorData {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
  readonly at: Location | null;
  /** The silo's own code where it is known: STEP_FAILED, OUT_OF_MEMORY, … (spec/scratch.md). */
  readonly cause: string | null;
}

export class LockstepError extends Error {
  readonly code: ErrorCode;
  readonly hint: string;
  readonly at: Location | null;
  readonly reason: string | null;

  constructor(code: ErrorCode, message: string, hint: string, more: { at?: Location | null; reason?: string | null } = {}) {
    super(message);
    this.name = 'LockstepError';
    this.code = code;
    this.hint = hint;
    this.at = more.at ?? null;
    this.reason = more.reason ?? null;
  }

  toData(): ErrorData {
    return { code: this.code, message: this.message, hint: this.hint, at: this.at, cause: this.reason };
  }
}
