/** What S3 and GCS say when something fails, told apart. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';

/** The HTTP status of an answer; null when there was none. */
export function statusOf(error: unknown): number | null {
  if (!(error instanceof Error)) return null;
  if ('$metadata' in error) return statusIn((error.$metadata as { httpStatusCode?: unknown }).httpStatusCode);
  return 'code' in error ? statusIn(error.code) : null;
}

function statusIn(value: unknown): number | null {
  const status = typeof value === 'string' && /^\d{3}$/.test(value) ? Number(value) : value;
  return typeof status === 'number' ? status : null;
}

export function isNoBucket(error: unknown): boolean {
  return error instanceof Error && (error.name === 'NoSuchBucket' || /bucket does not exist/i.test(error.message));
}

/**
 * Whether the request may have been carried out all the same: no answer, one from something between, or 409, by which AWS
 * says that another request for the same name is under way.
 */
export function isAmbiguous(error: unknown): boolean {
  const status = statusOf(error);
  if (status === null) return !(error instanceof Error && CERTAIN.has(error.name));
  return status >= 500 || status === 408 || status === 409 || status === 429;
}

/** Fails before anything is sent. */
const CERTAIN = new Set(['CredentialsProviderError', 'TypeError']);

const HINTS: Readonly<Record<string, string>> = {
  CredentialsProviderError: 'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the host a role.',
  InvalidAccessKeyId: 'Check AWS_ACCESS_KEY_ID: the storage does not know this key.',
  SignatureDoesNotMatch: 'Check AWS_SECRET_ACCESS_KEY and the region.',
  AccessDenied: 'Let this key get, put, delete and list in the bucket.',
  NoSuchBucket: 'Create the bucket, or correct its name.',
  QuotaExceeded: 'The quota of the bucket is used up: raise it, or free some space.',
  EntityTooLarge: 'The storage does not take objects of this size.',
  401: 'Set GOOGLE_APPLICATION_CREDENTIALS, or give the host a service account.',
  403: 'Let this account get, put, delete and list in the bucket.',
  TimeoutError: 'Check the endpoint and the network; then try again.',
};

/** `cause` keeps what the SDK said, for whoever tells the cases apart. */
export function unusable(storage: string, what: string, error: unknown): LockstepError {
  if (error instanceof LockstepError) return error;
  const [name, message] = error instanceof Error ? [error.name, messageOf(error)] : ['Error', String(error)];
  const status = statusOf(error);
  const said = `${name}${status === null ? '' : ` ${status}`}${message === '' || message === name ? '' : `: ${message}`}`;
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : name;
  return Object.assign(
    new LockstepError(
      'STORE_UNUSABLE',
      `The ${storage} failed at ${what}: ${said.slice(0, 300)}`,
      HINTS[isNoBucket(error) ? 'NoSuchBucket' : name] ??
        HINTS[String(status)] ??
        'Check the endpoint, the network and the storage; then try again.',
      {
        reason: code,
      },
    ),
    { cause: error },
  );
}

/** With what lies beneath: `fetch failed` alone says nothing. */
function messageOf(error: Error): string {
  return error.cause instanceof Error && error.cause.message !== '' ? `${error.message} (${error.cause.message})` : error.message;
}
