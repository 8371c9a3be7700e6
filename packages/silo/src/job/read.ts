/** A small typed reader over parsed JSON that knows where it stands, so that an error names the key. */
import { SiloError } from '../failure.ts';

export interface Reader {
  readonly value: unknown;
  readonly where: string;
  fail(expected: string): never;
  string(maxLength: number): string;
  integer(min: number, max: number): number;
  boolean(): boolean;
  oneOf<const T extends readonly string[]>(allowed: T): T[number];
  nullOr<T>(read: (reader: Reader) => T): T | null;
  list<T>(maxLength: number, read: (reader: Reader) => T): T[];
  record<T>(maxKeys: number, read: (reader: Reader) => T): Record<string, T>;
}

export function readerOf(value: unknown, where: string): Reader {
  const fail = (expected: string): never => {
    const shown = typeof value === 'object' ? (value === null ? 'null' : 'a list or an object') : (JSON.stringify(value) ?? 'nothing');
    throw new SiloError(
      'JOB_INVALID',
      `${where}: expected ${expected}, found ${shown.slice(0, 80)}`,
      'See spec/scratch.md for the shape of job.json.',
    );
  };
  const reader: Reader = {
    value,
    where,
    fail,
    string: (maxLength) =>
      typeof value === 'string' && value.length <= maxLength ? value : fail(`text of at most ${maxLength} characters`),
    integer: (min, max) =>
      typeof value === 'number' && Number.isSafeInteger(value) && !Object.is(value, -0) && value >= min && value <= max
        ? value
        : fail(`a whole number from ${min} to ${max}`),
    boolean: () => (typeof value === 'boolean' ? value : fail('true or false')),
    oneOf: (allowed) => {
      const found = allowed.find((item) => item === value);
      return found === undefined ? fail(`one of ${allowed.map((item) => `"${item}"`).join(', ')}`) : found;
    },
    nullOr: (read) => (value === null ? null : read(reader)),
    list: (maxLength, read) =>
      Array.isArray(value) && value.length <= maxLength
        ? value.map((item: unknown, index) => read(readerOf(item, `${where}[${index}]`)))
        : fail(`a list of at most ${maxLength}`),
    record: (maxKeys, read) => {
      const entries = entriesOf(value);
      if (entries === null || entries.length > maxKeys) return fail(`an object of at most ${maxKeys} keys`);
      return Object.fromEntries(entries.map(([key, item]) => [key, read(readerOf(item, `${where}.${key}`))]));
    },
  };
  return reader;
}

function entriesOf(value: unknown): [string, unknown][] | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : null;
}

export function field(reader: Reader, name: string): Reader {
  const entries = entriesOf(reader.value);
  if (entries === null) return reader.fail('an object');
  return readerOf(entries.find(([key]) => key === name)?.[1], `${reader.where}.${name}`);
}

/** Read exactly the named fields; anything missing or left over is an error. */
export function readObject<T extends Record<string, (reader: Reader) => unknown>>(
  reader: Reader,
  fields: T,
): { [K in keyof T]: ReturnType<T[K]> } {
  const entries = entriesOf(reader.value);
  if (entries === null) return reader.fail('an object');
  for (const [key] of entries) {
    if (!Object.hasOwn(fields, key)) {
      throw new SiloError('JOB_INVALID', `${reader.where}.${key}: unknown key`, `Known here: ${Object.keys(fields).join(', ')}.`);
    }
  }
  const out: Record<string, unknown> = {};
  for (const [key, read] of Object.entries(fields)) out[key] = read(field(reader, key));
  // eslint-disable-next-line typescript/no-unsafe-type-assertion -- built key by key from the same table
  return out as { [K in keyof T]: ReturnType<T[K]> };
}
