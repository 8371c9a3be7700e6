/** Structured messages: one JSON object a line on standard error, for whatever collects them. */

export type Level = 'debug' | 'info' | 'warn' | 'error';
export type Fields = Readonly<Record<string, string | number | boolean | null | undefined>>;

export interface Journal {
  (level: Level, message: string, fields?: Fields): void;
}

const RANK: Readonly<Record<Level, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

/** @param now milliseconds since 1970 */
export function jsonJournal(write: (line: string) => void, least: Level, now: () => number, base: Fields = {}): Journal {
  return (level, message, fields = {}) => {
    // JSON escapes control characters: what somebody else wrote cannot begin a line of its own.
    if (RANK[level] >= RANK[least]) write(`${JSON.stringify({ ...base, ...fields, at: new Date(now()).toISOString(), level, message })}\n`);
  };
}

export const silentJournal: Journal = () => undefined;

/** An error as fields: its code where it has one. */
export function errorFields(error: unknown): Fields {
  if (!(error instanceof Error)) return { error: String(error) };
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  return { error: error.message, code, stack: code === undefined ? error.stack : undefined };
}
