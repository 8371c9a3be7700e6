/** Who is to blame decides what the user does next: the build itself, the host, the job description, or a rule. */
export type FailureCode =
  | 'JOB_INVALID'
  | 'HOST_CANNOT'
  | 'ROOTFS_UNSAFE'
  | 'INPUT_MISSING'
  | 'ARCHIVE_UNSAFE'
  | 'ARCHIVE_INVALID'
  | 'ARCHIVE_TOO_LARGE'
  | 'SANDBOX_FAILED'
  | 'STEP_FAILED'
  | 'OUT_OF_MEMORY'
  | 'TIMED_OUT'
  | 'DISK_FULL'
  | 'TRANSCRIPT_TOO_LARGE'
  | 'CANCELLED'
  | 'OUTPUT_MISSING'
  | 'OUTPUT_REFUSED'
  | 'OUTPUT_TOO_LARGE';

export interface Failure {
  readonly code: FailureCode;
  readonly message: string;
  readonly hint: string;
}

/** A failure with a name. The silo turns every one into `result.json`; nothing else may end a run. */
export class SiloError extends Error {
  readonly code: FailureCode;
  readonly hint: string;

  constructor(code: FailureCode, message: string, hint: string) {
    super(message);
    this.name = 'SiloError';
    this.code = code;
    this.hint = hint;
  }

  toFailure(): Failure {
    return { code: this.code, message: this.message, hint: this.hint };
  }
}
