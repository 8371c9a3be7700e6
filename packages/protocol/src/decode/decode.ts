/**
 * Closed schemas over JSON values. Collects every issue with its path and what was expected, so that whoever knows the
 * text can point at line and column; a decoder never returns a half-read value.
 */
import type { Json, JsonPath } from '../json/parse.ts';

export interface Issue {
  readonly path: JsonPath;
  readonly expected: string;
  readonly found: string;
  readonly hint: string;
}

export type Decoded<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly issues: readonly Issue[] };

export type Decoder<T> = (value: Json | undefined, path: JsonPath) => Decoded<T>;

export type TypeOf<D> = D extends Decoder<infer T> ? T : never;

/** Issues of one table or list that are told: a hostile document has millions, and each costs. */
const MAX_TOLD = 20;

const pass = <T>(value: T): Decoded<T> => ({ ok: true, value });

export function issue<T>(path: JsonPath, value: Json | undefined, expected: string, hint = ''): Decoded<T> {
  return { ok: false, issues: [{ path, expected, found: describe(value), hint }] };
}

function describe(value: Json | undefined): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object' && value !== null) return 'a table';
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60).toWellFormed()}…` : text;
}

export function text(expected: string, accept: (value: string) => boolean, maxLength = 4096, hint = ''): Decoder<string> {
  return (value, path) =>
    // A lone surrogate has no canonical bytes, so nothing that holds one can have a build id.
    typeof value === 'string' && value.length <= maxLength && value.isWellFormed() && accept(value)
      ? pass(value)
      : issue(path, value, expected, hint);
}

export function integer(min: number, max: number): Decoder<number> {
  return (value, path) =>
    typeof value === 'number' && Number.isSafeInteger(value) && !Object.is(value, -0) && value >= min && value <= max
      ? pass(value)
      : issue(path, value, `a whole number from ${min} to ${max}`);
}

export const boolean: Decoder<boolean> = (value, path) => (typeof value === 'boolean' ? pass(value) : issue(path, value, 'true or false'));

export function oneOf<const T extends readonly (string | null)[]>(allowed: T): Decoder<T[number]> {
  return (value, path) => {
    const found = allowed.find((item) => item === value);
    return found === undefined ? issue(path, value, `one of ${allowed.map((item) => JSON.stringify(item)).join(', ')}`) : pass(found);
  };
}

export function list<T>(item: Decoder<T>, maxLength: number, minLength = 0): Decoder<readonly T[]> {
  return (value, path) => {
    if (!Array.isArray(value) || value.length > maxLength || value.length < minLength) {
      return issue(path, value, minLength > 0 ? `a list of ${minLength} to ${maxLength}` : `a list of at most ${maxLength}`);
    }
    return all(value, (one: Json, index) => item(one, [...path, index]));
  };
}

/** Stops at the first few issues: a hostile list has millions of elements, and each of them one. */
function all<E, T>(elements: readonly E[], decodeOne: (element: E, index: number) => Decoded<T>): Decoded<T[]> {
  const issues: Issue[] = [];
  const values: T[] = [];
  for (const [index, element] of elements.entries()) {
    const one = decodeOne(element, index);
    if (one.ok) values.push(one.value);
    else issues.push(...one.issues.slice(0, MAX_TOLD));
    if (issues.length >= MAX_TOLD) break;
  }
  return issues.length > 0 ? { ok: false, issues } : pass(values);
}

export function record<T>(key: RegExp, item: Decoder<T>, maxKeys: number): Decoder<Readonly<Record<string, T>>> {
  return (value, path) => {
    if (!isTable(value)) return issue(path, value, 'a table');
    const entries = Object.entries(value);
    if (entries.length > maxKeys) return issue(path, value, `at most ${maxKeys} keys`);
    // JSON with the key "__proto__" is refused when it is read, so it must not get into a document that is written either.
    const bad = entries.find(([name]) => name === '__proto__' || !key.test(name));
    if (bad !== undefined) return issue([...path, bad[0]], bad[1], `a key like ${key.source}`);
    const decoded = all(entries, ([name, one]) => mapOk(item(one, [...path, name]), (ok) => [name, ok] as const));
    return mapOk(decoded, (pairs) => Object.fromEntries(pairs));
  };
}

/** A field that may be missing, and what it is then. */
export function optional<T, D>(decoder: Decoder<T>, fallback: D): Decoder<T | D> {
  return (value, path) => (value === undefined ? pass<T | D>(fallback) : decoder(value, path));
}

export function nullable<T>(decoder: Decoder<T>): Decoder<T | null> {
  return (value, path) => (value === null ? pass<T | null>(null) : decoder(value, path));
}

/** Exactly these keys. An unknown key is an issue, with the nearest known one as a hint. */
export function table<S extends Record<string, Decoder<unknown>>>(shape: S): Decoder<{ readonly [K in keyof S]: TypeOf<S[K]> }> {
  return (value, path) => {
    if (!isTable(value)) return issue(path, value, 'a table');
    const issues: Issue[] = [];
    for (const key of Object.keys(value)) {
      if (issues.length === MAX_TOLD) break;
      if (Object.hasOwn(shape, key)) continue;
      const near = nearest(key, Object.keys(shape));
      issues.push({
        path: [...path, key],
        expected: `one of the keys ${Object.keys(shape).join(', ')}`,
        found: `the unknown key ${JSON.stringify(key)}`,
        hint: near === null ? 'Remove the key.' : `Did you mean "${near}"?`,
      });
    }
    const out: Record<string, unknown> = {};
    for (const [key, decoder] of Object.entries(shape)) {
      const decoded = decoder(value[key], [...path, key]);
      if (decoded.ok) out[key] = decoded.value;
      else for (const one of decoded.issues) issues.push(one);
    }
    return issues.length > 0 ? { ok: false, issues } : pass(out as { readonly [K in keyof S]: TypeOf<S[K]> });
  };
}

/** The first key that is present decides which table it is. */
export function tableBy<T>(variants: Readonly<Record<string, Decoder<T>>>): Decoder<T> {
  return (value, path) => {
    if (!isTable(value)) return issue(path, value, 'a table');
    const key = Object.keys(variants).find((name) => Object.hasOwn(value, name));
    const decoder = key === undefined ? undefined : variants[key];
    return decoder === undefined ? issue(path, value, `a table with one of ${Object.keys(variants).join(', ')}`) : decoder(value, path);
  };
}

/** The value of `tag` decides which table it is. */
export function tableOf<T>(tag: string, variants: Readonly<Record<string, Decoder<T>>>): Decoder<T> {
  return (value, path) => {
    if (!isTable(value)) return issue(path, value, 'a table');
    const name = value[tag];
    const decoder = typeof name === 'string' && Object.hasOwn(variants, name) ? variants[name] : undefined;
    return decoder === undefined
      ? issue(
          [...path, tag],
          name,
          `one of ${Object.keys(variants)
            .map((one) => `"${one}"`)
            .join(', ')}`,
        )
      : decoder(value, path);
  };
}

export function mapOk<T, U>(decoded: Decoded<T>, map: (value: T) => U): Decoded<U> {
  return decoded.ok ? pass(map(decoded.value)) : decoded;
}

export function isTable(value: Json | undefined): value is { readonly [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The known name within an edit distance of 2, if any. */
function nearest(word: string, known: readonly string[]): string | null {
  const scored = known.map((name) => ({ name, distance: editDistance(word.slice(0, 40), name) })).sort((a, b) => a.distance - b.distance);
  const best = scored[0];
  return best !== undefined && best.distance <= 2 ? best.name : null;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
