/** Exit codes with meanings; the same table is in README and spec/errors.md. */
import type { ErrorCode } from '@lockstep/protocol/error/lockstep-error';

export const EXIT = { ok: 0, failed: 1, usage: 2, hostCannot: 3, notReproducible: 4, refusedByPolicy: 5, verificationFailed: 6 } as const;

const BY_CODE: Partial<Record<ErrorCode, number>> = {
  USAGE: EXIT.usage,
  FILE_NOT_FOUND: EXIT.usage,
  MANIFEST_SYNTAX: EXIT.usage,
  MANIFEST_INVALID: EXIT.usage,
  MANIFEST_TOO_LARGE: EXIT.usage,
  LOCK_MISSING: EXIT.usage,
  LOCK_INVALID: EXIT.usage,
  LOCK_STALE: EXIT.usage,
  JSON_INVALID: EXIT.usage,
  SOURCE_REF_INVALID: EXIT.usage,
  SOURCE_MOVING: EXIT.usage,
  FARM_ID_INVALID: EXIT.usage,
  POLICY_INVALID: EXIT.usage,
  KEY_INVALID: EXIT.usage,
  INIT_NOTHING_FOUND: EXIT.usage,
  WITNESS_POLICY_INVALID: EXIT.usage,
  DOCUMENT_INVALID: EXIT.usage,
  LOG_UNUSABLE: EXIT.usage,
  REQUEST_INVALID: EXIT.usage,
  NOT_FOUND: EXIT.usage,
  HOST_CANNOT: EXIT.hostCannot,
  TIER_UNAVAILABLE: EXIT.hostCannot,
  NOT_AGREED: EXIT.notReproducible,
  FETCH_REFUSED: EXIT.refusedByPolicy,
  ROUND_REFUSED: EXIT.refusedByPolicy,
  POLICY_UNTRUSTED: EXIT.refusedByPolicy,
  WITNESSES_MISSING: EXIT.refusedByPolicy,
  UNAUTHENTICATED: EXIT.refusedByPolicy,
  FORBIDDEN: EXIT.refusedByPolicy,
  SUBMISSION_REFUSED: EXIT.refusedByPolicy,
  ENROLMENT_REFUSED: EXIT.refusedByPolicy,
  SIGNING_REFUSED: EXIT.refusedByPolicy,
  SIGNER_ROLLED_BACK: EXIT.refusedByPolicy,
  PASSPHRASE_WRONG: EXIT.refusedByPolicy,
  CEREMONY_FAILED: EXIT.refusedByPolicy,
  VERIFICATION_FAILED: EXIT.verificationFailed,
  ENVELOPE_INVALID: EXIT.verificationFailed,
  STATEMENT_INVALID: EXIT.verificationFailed,
  NOTE_INVALID: EXIT.verificationFailed,
  CHECKPOINT_INVALID: EXIT.verificationFailed,
  PROOF_INVALID: EXIT.verificationFailed,
  BUNDLE_INVALID: EXIT.verificationFailed,
  LOG_ENTRY_INVALID: EXIT.verificationFailed,
  LOG_CORRUPT: EXIT.verificationFailed,
  LOG_INCONSISTENT: EXIT.verificationFailed,
  LOG_ROLLED_BACK: EXIT.verificationFailed,
  ROOT_INVALID: EXIT.verificationFailed,
};

export function exitCodeOf(code: ErrorCode): number {
  return BY_CODE[code] ?? EXIT.failed;
}
