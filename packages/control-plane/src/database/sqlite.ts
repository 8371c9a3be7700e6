/** node:sqlite for Kysely: one connection, every commit on the disk before it is acknowledged. */
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { Kysely, SqliteDialect } from 'kysely';
import type { Tables } from './schema.ts';

/** A handful of statements make up nearly all work. */
const PREPARED = 500;

export interface OpenedSqlite {
  readonly kysely: Kysely<Tables>;
  /** Runs `work` with every statement of it in one transaction; several that wait share one fsync. */
  readonly raw: DatabaseSync;
}

export function openSqlite(path: string): OpenedSqlite {
  const raw = new DatabaseSync(path, { timeout: 5000 });
  raw.exec(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 4000;',
  );
  const prepared = new Map<string, StatementSync>();
  const prepare = (sql: string): StatementSync => {
    const known = prepared.get(sql);
    if (known !== undefined) return known;
    const statement = raw.prepare(sql);
    if (prepared.size >= PREPARED) prepared.clear();
    prepared.set(sql, statement);
    return statement;
  };
  const kysely = new Kysely<Tables>({
    dialect: new SqliteDialect({
      database: {
        prepare(sql: string) {
          const statement = prepare(sql);
          const values = (given: readonly unknown[]): SQLInputValue[] => given as SQLInputValue[];
          return {
            reader: statement.columns().length > 0,
            all: (given: readonly unknown[]) => statement.all(...values(given)),
            run: (given: readonly unknown[]) => statement.run(...values(given)),
            iterate: (given: readonly unknown[]) => statement.iterate(...values(given)),
          };
        },
        close: () => raw.close(),
      },
    }),
  });
  return { kysely, raw };
}
