/** Times as documents write them: RFC 3339 in UTC, to the second. */

/** @param seconds since 1970 */
export function isoTime(seconds: number): string {
  return `${new Date(Math.floor(seconds) * 1000).toISOString().slice(0, 19)}Z`;
}
