/** JSON Canonicalization Scheme, RFC 8785: one value, one sequence of bytes. */
import { isWellFormed, toUtf8 } from '../bytes/utf8.ts';
import type { Json } from './parse.ts';

/** @throws TypeError for what has no canonical form: undefined, NaN, infinities, lone surrogates */
export function canonicalText(value: Json): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError('not a JSON number');
    // ECMAScript's Number-to-string is the one that RFC 8785 section 3.2.2.3 names; -0 becomes 0.
    return JSON.stringify(value);
  }
  if (typeof value === 'string') return quote(value);
  if (Array.isArray(value)) return `[${value.map((item: Json) => canonicalText(item)).join(',')}]`;
  // Section 3.2.3: sorted by UTF-16 code units, which is what JavaScript compares.
  const entries = Object.entries(value as { readonly [key: string]: Json }).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return `{${entries.map(([key, item]) => `${quote(key)}:${canonicalText(item)}`).join(',')}}`;
}

export function canonicalBytes(value: Json): Uint8Array {
  return toUtf8(canonicalText(value));
}

function quote(text: string): string {
  if (!isWellFormed(text)) throw new TypeError('a lone surrogate has no canonical form');
  return JSON.stringify(text);
}
