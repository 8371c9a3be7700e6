/** What a farm answers when it does not do what was asked: an error of ours, as data. */
import { ERROR_CODES, LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { z } from 'zod';

export const problem = z
  .strictObject({
    schema: z.literal('lockstep-error/v1'),
    error: z.strictObject({
      code: z.enum(ERROR_CODES),
      message: z.string(),
      hint: z.string(),
      at: z.strictObject({ file: z.string(), line: z.int(), column: z.int() }).nullable(),
      cause: z.string().nullable(),
    }),
    /** Seconds after which it may be tried again; also the Retry-After header. */
    retryAfter: z.number().nullable(),
  })
  .meta({ id: 'Problem' });

export type Problem = z.infer<typeof problem>;

/** An error that a farm has answered with, or that the way to it had. */
export class FarmError extends LockstepError {
  readonly status: number;
  /** Seconds. */
  readonly retryAfter: number | null;

  constructor(status: number, body: Problem) {
    const { code, message, hint, at, cause } = body.error;
    super(code, message, hint, { at, reason: cause });
    this.status = status;
    this.retryAfter = body.retryAfter;
  }
}
