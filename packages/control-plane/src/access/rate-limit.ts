/** A token bucket for each caller, in this process: a replica's own limit, so that one caller cannot take all of it. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';

/** Callers that are remembered; the one longest silent is forgotten, and starts with a full bucket again. */
const REMEMBERED = 20_000;

export class RateLimited extends LockstepError {
  /** Seconds. */
  readonly retryAfter: number;
  constructor(who: string, seconds: number) {
    super('RATE_LIMITED', `${who} asks too often`, 'Wait as long as Retry-After says.');
    this.retryAfter = seconds;
  }
}

export type RateLimit = (who: string) => void;

/** @throws RateLimited */
export function rateLimit(rate: { readonly perSecond: number; readonly burst: number }, now: () => number): RateLimit {
  const buckets = new Map<string, { left: number; at: number }>();
  return (who) => {
    const at = now();
    const bucket = buckets.get(who) ?? { left: rate.burst, at };
    const left = Math.min(rate.burst, bucket.left + (Math.max(0, at - bucket.at) / 1000) * rate.perSecond);
    buckets.delete(who);
    buckets.set(who, { left: Math.max(0, left - 1), at });
    if (buckets.size > REMEMBERED)
      for (const oldest of buckets.keys()) {
        buckets.delete(oldest);
        break;
      }
    if (left < 1) throw new RateLimited(who, Math.ceil((1 - left) / rate.perSecond));
  };
}
