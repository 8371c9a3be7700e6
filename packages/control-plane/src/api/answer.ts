/** How results and errors become responses. */
import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { type ErrorCode, LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Problem } from '@lockstep/api/problem';
import { RateLimited } from '../access/rate-limit.ts';

const STATUS: Partial<Record<ErrorCode, number>> = {
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  SUBMISSION_REFUSED: 403,
  ENROLMENT_REFUSED: 403,
  NOT_FOUND: 404,
  LEASE_STALE: 409,
  ROUND_REFUSED: 409,
  INPUT_MISSING: 409,
  JOB_STATE: 409,
  RATE_LIMITED: 429,
  STORE_UNUSABLE: 503,
  FARM_UNUSABLE: 503,
  QUEUE_FULL: 503,
  WITNESSES_MISSING: 503,
  POLICY_UNTRUSTED: 503,
};
/** Seconds. */
const RETRY_FULL = 30;
const RETRY_UNUSABLE = 5;

/** What a caller did wrong is told to them; what went wrong here is told in the journal. */
const CALLERS_FAULT: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'REQUEST_INVALID',
  'UPLOAD_INVALID',
  'JSON_INVALID',
  'DOCUMENT_INVALID',
  'STATEMENT_INVALID',
  'ENVELOPE_INVALID',
  'KEY_INVALID',
  'USAGE',
]);

export function statusOf(code: ErrorCode): number {
  return STATUS[code] ?? (CALLERS_FAULT.has(code) ? 400 : 500);
}

export function problemOf(error: unknown): { readonly status: number; readonly body: Problem } {
  if (isDatabaseAway(error))
    return problemOf(new LockstepError('FARM_UNUSABLE', 'The farm cannot reach its database', 'Try again; what was acknowledged is kept.'));
  // What this program did not foresee may have anything in it: nothing of that goes out.
  const known =
    error instanceof LockstepError
      ? error
      : new LockstepError('FARM_UNUSABLE', 'The farm met a fault of its own', 'Try again; the operator finds the reason in the journal.');
  const status = error instanceof LockstepError ? statusOf(known.code) : 500;
  const retryAfter =
    error instanceof RateLimited ? error.retryAfter : known.code === 'QUEUE_FULL' ? RETRY_FULL : status >= 500 ? RETRY_UNUSABLE : null;
  return { status, body: { schema: 'lockstep-error/v1', error: known.toData(), retryAfter } };
}

/** PostgreSQL (Appendix A, classes 08, 53, 57) and sockets: it is away, or too busy, and will be back. */
function isDatabaseAway(error: unknown): boolean {
  if (!(error instanceof Error) || error instanceof LockstepError) return false;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return (
    /^(?:08|53|57)[0-9A-Z]{3}$|^ECONN|^EPIPE$/.test(code) ||
    /Connection terminated|timeout exceeded when trying to connect/.test(error.message)
  );
}

export function problemResponse(error: unknown): Response {
  const { status, body } = problemOf(error);
  return jsonResponse(body, status, body.retryAfter === null ? {} : { 'retry-after': String(body.retryAfter) });
}

export function jsonResponse(value: unknown, status = 200, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(JSON.stringify(value), { status, headers: { 'content-type': 'application/json', ...headers } });
}

/** Foreign bytes, never to be shown by a browser as anything. */
const FOREIGN = {
  'content-type': 'application/octet-stream',
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; sandbox",
};

export function bytesResponse(bytes: Uint8Array, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(new Uint8Array(bytes), { headers: { ...FOREIGN, 'content-length': String(bytes.length), ...headers } });
}

export function streamResponse(stream: Readable, size: number, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(Readable.toWeb(stream) as ReadableStream<Uint8Array>, {
    headers: { ...FOREIGN, 'content-length': String(size), ...headers },
  });
}
