/**
 * The farm's database: SQLite for one process, PostgreSQL for several, behind the same Kysely schema.
 *
 * `write` is the only way to change something: a transaction that has happened, and is on the disk, when it returns. On
 * SQLite those that wait at the same time share one commit; on PostgreSQL each has its own, and rows that several may
 * want are locked (`lockRows`).
 */
import { Kysely, PostgresDialect, sql, type Transaction } from 'kysely';
import { Migrator } from 'kysely/migration';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { events } from './events.ts';
import { migrations, type Types } from './migrations.ts';
import type { Tables } from './schema.ts';
import { groupCommit } from './group-commit.ts';
import { openSqlite } from './sqlite.ts';

export type Reads = Kysely<Tables>;
export type Writes = Transaction<Tables>;

/** A select query of Kysely, whatever it selects. */
interface Lockable {
  forUpdate(): unknown;
}

export interface Database {
  readonly kind: 'sqlite' | 'postgresql';
  /** Without secrets. */
  readonly name: string;
  readonly reads: Reads;
  write<T>(work: (tx: Writes) => Promise<T>): Promise<T>;
  /**
   * Holds the rows that a query finds until the end of the transaction. `skip` passes over what another one holds. On
   * SQLite nobody else writes meanwhile.
   */
  lock<Q extends Lockable>(query: Q, held: 'wait' | 'skip'): Q;
  /** Tells every replica that something has changed. Only to be prompt: a sweep finds it otherwise. */
  notify(what: string): void;
  onNotify(listener: (what: string) => void): () => void;
  close(): Promise<void>;
}

const SQLITE_TYPES: Types = { bytes: 'blob', serialType: 'integer', serial: (column) => column.primaryKey().autoIncrement() };
const MOST_TRIES = 6;
const POSTGRES_TYPES: Types = {
  bytes: 'bytea',
  serialType: 'bigint',
  serial: (column) => column.primaryKey().generatedByDefaultAsIdentity(),
};

/** @param where a path, or `postgres://…` @throws LockstepError FARM_UNUSABLE */
export async function openDatabase(where: string, onError: (error: unknown) => void): Promise<Database> {
  try {
    return /^postgres(?:ql)?:\/\//.test(where) ? await openPostgres(where, onError) : await openFile(where);
  } catch (error) {
    if (error instanceof LockstepError) throw error;
    throw new LockstepError(
      'FARM_UNUSABLE',
      `The database ${nameOf(where)} cannot be used: ${error instanceof Error ? error.message : String(error)}`,
      'Check that it runs, its address and its rights; docs/operate.md says how it is set up.',
    );
  }
}

/** Without user and password. */
function nameOf(where: string): string {
  return /^postgres/.test(where) ? `postgresql at ${new URL(where).host}${new URL(where).pathname}` : `sqlite ${where}`;
}

async function openFile(path: string): Promise<Database> {
  const { kysely } = openSqlite(path);
  await migrateOrClose(kysely, SQLITE_TYPES);
  const told = events((messages) => messages.forEach((what) => told.deliver(what)));
  const commits = groupCommit(kysely);
  return {
    kind: 'sqlite',
    name: nameOf(path),
    reads: kysely,
    write: (work) => commits.write(work),
    lock: (query) => query,
    notify: (what) => told.notify(what),
    onNotify: (listener) => told.onNotify(listener),
    async close() {
      told.close();
      await commits.idle();
      await kysely.destroy();
    },
  };
}

async function openPostgres(url: string, onError: (error: unknown) => void): Promise<Database> {
  const { postgresPool, listenTo } = await import('./postgres.ts');
  const pool = postgresPool(url, onError);
  const kysely = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) });
  await migrateOrClose(kysely, POSTGRES_TYPES);
  const told = events(
    (messages) => void pool.query('select pg_notify($1, what) from unnest($2::text[]) as what', ['lockstep', messages]).catch(onError),
  );
  const channel = listenTo(url, (what) => told.deliver(what), onError);
  return {
    kind: 'postgresql',
    name: nameOf(url),
    reads: kysely,
    write: (work) => insist(() => kysely.transaction().execute(work)),
    lock(query, held) {
      const locked = query.forUpdate() as { skipLocked(): unknown };
      return (held === 'skip' ? locked.skipLocked() : locked) as typeof query;
    },
    notify: (what) => told.notify(what),
    onNotify: (listener) => told.onNotify(listener),
    async close() {
      told.close();
      await channel.close();
      await kysely.destroy();
    },
  };
}

/** A transaction that PostgreSQL ended for the sake of another one (Appendix A, class 40) has done nothing, and is tried again. */
async function insist<T>(work: () => Promise<T>): Promise<T> {
  for (let tried = 1; ; tried++) {
    try {
      return await work();
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : null;
      if ((code !== '40P01' && code !== '40001') || tried >= MOST_TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 20 * tried));
    }
  }
}

async function migrateOrClose(kysely: Kysely<Tables>, types: Types): Promise<void> {
  try {
    await migrate(kysely, types);
  } catch (error) {
    await kysely.destroy();
    throw error;
  }
}

async function migrate(kysely: Kysely<Tables>, types: Types): Promise<void> {
  const all = migrations(types);
  const migrator = new Migrator({ db: kysely, provider: { getMigrations: () => Promise.resolve(all) } });
  const unknown = (await appliedMigrations(kysely)).filter((name) => all[name] === undefined);
  if (unknown.length > 0)
    throw new LockstepError(
      'FARM_UNUSABLE',
      `The database was made by a newer version (${unknown.join(', ')})`,
      'Run that version, or restore a backup from before the upgrade.',
    );
  const { error } = await migrator.migrateToLatest();
  if (error !== undefined) throw error instanceof Error ? error : new Error('a migration failed');
}

/** What was applied, by whatever version; nothing in a new database. */
async function appliedMigrations(kysely: Kysely<Tables>): Promise<string[]> {
  const tables = await kysely.introspection.getTables({ withInternalKyselyTables: true });
  if (!tables.some((one) => one.name === 'kysely_migration')) return [];
  const { rows } = await sql<{ name: string }>`select name from kysely_migration`.execute(kysely);
  return rows.map((one) => one.name);
}
