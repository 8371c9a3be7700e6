/** Equality of bytes whose time does not depend on where they differ. */
import { timingSafeEqual } from 'node:crypto';

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
