/** Copies a farm that does not run from one database and storage to others: every row, every object, each read back. */
import { createHash, type Hash } from 'node:crypto';
import { Readable } from 'node:stream';
import { sql } from 'kysely';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Objects } from '@lockstep/store/objects/objects';
import type { Database } from '../database/database.ts';
import { TABLE_NAMES, type Tables } from '../database/schema.ts';

const ROWS = 500;

/** How the rows of each table are paged through: its key. */
const ORDER: Readonly<Record<keyof Tables, readonly string[]>> = {
  jobs: ['position'],
  submissions: ['submission'],
  tasks: ['job', 'round', 'builder'],
  attempts: ['attempt'],
  transcript_chunks: ['attempt', 'start'],
  documents: ['document'],
  builders: ['name'],
  join_tokens: ['token'],
  tokens: ['token'],
  inputs: ['sha256', 'submitter'],
  shares: ['submitter'],
  audit: ['id'],
  leaders: ['duty'],
  facts: ['name'],
};
const SERIALS = { jobs: 'position', attempts: 'attempt', documents: 'document', audit: 'id' } as const;

/** @returns rows by table. @throws LockstepError FARM_UNUSABLE when the target is not empty, or counts differ afterwards */
export async function copyDatabase(from: Database, to: Database): Promise<Record<string, number>> {
  const copied: Record<string, number> = {};
  for (const name of TABLE_NAMES)
    if ((await count(to, name)) > 0)
      throw new LockstepError('FARM_UNUSABLE', `The table ${name} of ${to.name} is not empty`, 'Copy into a new database.');
  for (const name of TABLE_NAMES) {
    copied[name] = await copyTable(from, to, name);
    if ((await count(to, name)) !== (await count(from, name)))
      throw new LockstepError(
        'FARM_UNUSABLE',
        `The table ${name} has other rows than before`,
        'Nothing may run on either database while it is copied.',
      );
  }
  if (to.kind === 'postgresql')
    for (const [name, column] of Object.entries(SERIALS))
      await sql`select setval(pg_get_serial_sequence(${name}, ${column}), coalesce((select max(${sql.ref(column)}) from ${sql.table(name)}), 0) + 1, false)`.execute(
        to.reads,
      );
  return copied;
}

async function copyTable(from: Database, to: Database, name: keyof Tables): Promise<number> {
  let copied = 0;
  for (;;) {
    let page = from.reads.selectFrom(name).selectAll().limit(ROWS).offset(copied);
    for (const column of ORDER[name]) page = page.orderBy(sql.ref(column));
    const rows = await page.execute();
    if (rows.length === 0) return copied;
    await to.write((tx) =>
      tx
        .insertInto(name)
        .values(rows as never)
        .execute(),
    );
    copied += rows.length;
  }
}

async function count(database: Database, name: keyof Tables): Promise<number> {
  const row = await database.reads
    .selectFrom(name)
    .select((expression) => expression.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow();
  return Number(row.count);
}

export interface CopiedObjects {
  readonly objects: number;
  readonly bytes: number;
}

/** @throws LockstepError STORE_CORRUPT for an object that is not what its name says, or came out differently */
export async function copyObjects(from: Objects, to: Objects): Promise<CopiedObjects> {
  let objects = 0;
  let bytes = 0;
  for await (const { key, size } of from.list('')) {
    const source = await from.stream(key);
    // Gone meanwhile: nothing that is acknowledged goes by itself.
    if (source === null)
      throw new LockstepError(
        'STORE_CORRUPT',
        `${key} has vanished while it was copied`,
        'Nothing may run on the storage while it is copied.',
      );
    const hash = createHash('sha256');
    await to.put(key, { stream: Readable.from(hashed(source, hash), { objectMode: false }), size });
    const digest = hash.digest('hex');
    const named = /^(?:inputs|results|definitions)\/([0-9a-f]{64})$/.exec(key)?.[1];
    if (named !== undefined && named !== digest)
      throw new LockstepError(
        'STORE_CORRUPT',
        `${from.name}: ${key} has SHA-256 ${digest}`,
        'Restore it from a backup before the farm moves.',
      );
    if ((await hashOf(to, key)) !== digest)
      throw new LockstepError(
        'STORE_CORRUPT',
        `${to.name} holds other bytes than were written as ${key}`,
        'Check that storage, and copy again.',
      );
    objects++;
    bytes += size;
  }
  return { objects, bytes };
}

async function* hashed(source: AsyncIterable<Uint8Array>, hash: Hash): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    hash.update(chunk);
    yield chunk;
  }
}

async function hashOf(objects: Objects, key: string): Promise<string> {
  const stream = await objects.stream(key);
  const hash: Hash = createHash('sha256');
  for await (const chunk of (stream ?? []) as AsyncIterable<Uint8Array>) hash.update(chunk);
  return hash.digest('hex');
}
