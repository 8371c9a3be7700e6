/** When a key is to be rotated: a schedule, and a reminder that everybody sees who looks at the node. */
import { readFileKeyHeader } from '@lockstep/signer/custody/file-key';
import { tufSeconds } from '@lockstep/protocol/tuf/metadata';
import type { HeldKey } from './home.ts';

const DAY = 86_400;
/** Two years: long enough that it is worth publishing, short enough that somebody still knows how it is done. */
const ROTATE_AFTER_DAYS = 730;
const REMIND_DAYS = 60;

/** Seconds since 1970 at which it was made; null where only the token knows. */
export function ageOf(held: HeldKey): number | null {
  return held.custody === 'file' ? tufSeconds(readFileKeyHeader(held.path).created) : null;
}

/** @param now seconds since 1970 */
export function dueLine(name: string, made: number | null, now: number): string | null {
  if (made === null) return null;
  const left = Math.floor((made + ROTATE_AFTER_DAYS * DAY - now) / DAY);
  if (left > REMIND_DAYS) return null;
  return `reminder: ${name} is to be rotated ${left < 0 ? `for ${-left} days already` : `in ${left} days`}: lockstep key rotate ${name}`;
}
