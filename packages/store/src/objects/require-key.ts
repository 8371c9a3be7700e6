/** What a caller may ask for; the rest is a mistake in the program, hence a TypeError. */
import { type ByteRange, isObjectKey } from './objects.ts';

/** @throws TypeError */
export function requireKey(key: string): string {
  if (!isObjectKey(key)) throw new TypeError(`not an object key: ${JSON.stringify(key).slice(0, 200)}`);
  return key;
}

/** @throws TypeError */
export function requireRange(range: ByteRange): ByteRange {
  if (!Number.isSafeInteger(range.start) || !Number.isSafeInteger(range.length) || range.start < 0 || range.length < 0)
    throw new TypeError(`not a range of bytes: ${range.start}+${range.length}`);
  return range;
}

/** The beginnings of keys: what could never match is a mistake too. @throws TypeError */
export function requirePrefix(prefix: string): string {
  if (prefix !== '' && !isObjectKey(prefix.replace(/\/$/, ''))) throw new TypeError(`not the beginning of a key: ${prefix.slice(0, 200)}`);
  return prefix;
}
