/** What every kind of database has to keep: one suite, run by the tests of each kind (database.ts has the words). */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { sql } from 'kysely';
import type { Database, Writes } from './database.ts';
import { TABLE_NAMES } from './schema.ts';

export interface ContractSetup {
  /** An address for openDatabase, with nothing in it. A new one for each call. */
  readonly address: () => Promise<string>;
  readonly open: (address: string) => Promise<Database>;
}

const WRITERS = 200;
/** Milliseconds in which an event has to come. */
const SOON = 5000;

export function databaseContract(name: string, setup: ContractSetup): void {
  describe(`database: ${name}`, () => {
    let address = '';
    let database: Database;
    let newer = '';
    before(async () => {
      address = await setup.address();
      database = await setup.open(address);
    });
    after(() => database.close());

    test('every table of the schema is there and can be read', async () => {
      for (const table of TABLE_NAMES) assert.deepEqual(await database.reads.selectFrom(table).selectAll().execute(), []);
    });

    test('numbers up to 2^53, bytes and texts come back as they were', async () => {
      const bytes = Uint8Array.from({ length: 256 }, (_, at) => at);
      const words = 'ä\u{1F600}\n\'"\\ %_';
      await database.write(async (tx) => {
        await tx.insertInto('transcript_chunks').values({ attempt: Number.MAX_SAFE_INTEGER, start: 0, bytes }).execute();
        await tx.insertInto('facts').values({ name: words, value: words }).execute();
        await tx
          .insertInto('shares')
          .values({ submitter: 'a', share: 0.25, used: 1e6 + 0.5 })
          .execute();
      });
      const [chunk] = await database.reads.selectFrom('transcript_chunks').selectAll().execute();
      assert.deepEqual([chunk?.attempt, Buffer.from(chunk?.bytes ?? []).equals(bytes)], [Number.MAX_SAFE_INTEGER, true]);
      const [fact] = await database.reads.selectFrom('facts').selectAll().where('name', '=', words).execute();
      assert.deepEqual({ ...fact }, { name: words, value: words });
      const [share] = await database.reads.selectFrom('shares').selectAll().execute();
      assert.deepEqual({ ...share }, { submitter: 'a', share: 0.25, used: 1e6 + 0.5 });
    });

    test('a serial rises, also when a row before it is gone', async () => {
      const entry = { at: 1, who: 'a', role: 'b', action: 'c', subject: 'd', status: 1 };
      const add = (): Promise<number> =>
        database.write(async (tx) => (await tx.insertInto('audit').values(entry).returning('id').executeTakeFirstOrThrow()).id);
      const first = await add();
      await database.write((tx) => tx.deleteFrom('audit').execute());
      assert.ok((await add()) > first, 'a fencing number is never given twice');
    });

    test('a work that fails takes all of its own back and nothing of those beside it', async () => {
      const works = Array.from({ length: 40 }, (_, at) =>
        database.write(async (tx) => {
          await put(tx, `beside ${at}`, '1');
          if (at % 3 === 0) throw new TypeError(`work ${at}`);
          if (at % 3 === 1) await put(tx, `beside ${at}`, 'again: the name is taken');
          return at;
        }),
      );
      const ended = await Promise.allSettled(works);
      for (const [at, one] of ended.entries()) assert.equal(one.status, at % 3 === 2 ? 'fulfilled' : 'rejected', `work ${at}`);
      const [thrown] = ended;
      assert.ok(thrown?.status === 'rejected' && thrown.reason instanceof TypeError && thrown.reason.message === 'work 0');
      const rows = await database.reads.selectFrom('facts').select('name').where('name', 'like', 'beside %').execute();
      assert.deepEqual(
        rows.map((row) => Number(row.name.slice(7)) % 3).filter((rest) => rest !== 2),
        [],
      );
      assert.equal(rows.length, 13);
    });

    test('what is written is seen within, and by nobody else before it is committed', async () => {
      const outside = await setup.open(address);
      try {
        let seenOutside = -1;
        await database.write(async (tx) => {
          await put(tx, 'half', '1');
          assert.equal((await tx.selectFrom('facts').select('value').where('name', '=', 'half').execute()).length, 1);
          seenOutside = (await outside.reads.selectFrom('facts').select('value').where('name', '=', 'half').execute()).length;
        });
        assert.equal(seenOutside, 0);
        assert.equal((await outside.reads.selectFrom('facts').select('value').where('name', '=', 'half').execute()).length, 1);
      } finally {
        await outside.close();
      }
    });

    test('of many that raise the same number none is lost when each holds the row', async () => {
      await database.write((tx) => put(tx, 'count', '0'));
      await Promise.all(
        Array.from({ length: WRITERS }, () =>
          database.write(async (tx) => {
            const row = await database
              .lock(tx.selectFrom('facts').select('value').where('name', '=', 'count'), 'wait')
              .executeTakeFirstOrThrow();
            await tx
              .updateTable('facts')
              .set({ value: String(Number(row.value) + 1) })
              .where('name', '=', 'count')
              .execute();
          }),
        ),
      );
      const row = await database.reads.selectFrom('facts').select('value').where('name', '=', 'count').executeTakeFirstOrThrow();
      assert.equal(row.value, String(WRITERS));
    });

    test('of many that take from a queue by skipping none takes what another one has', async () => {
      await database.write(async (tx) => {
        for (let at = 0; at < 50; at++) await put(tx, `queue ${String(at).padStart(2, '0')}`, '');
      });
      const take = (who: number): Promise<string | null> =>
        database.write(async (tx) => {
          const query = tx
            .selectFrom('facts')
            .select('name')
            .where('name', 'like', 'queue %')
            .where('value', '=', '')
            .orderBy('name')
            .limit(1);
          const row = await database.lock(query, 'skip').executeTakeFirst();
          if (row === undefined) return null;
          await tx
            .updateTable('facts')
            .set({ value: String(who) })
            .where('name', '=', row.name)
            .execute();
          return row.name;
        });
      const taken: string[] = [];
      await Promise.all(
        Array.from({ length: 10 }, async (_, who) => {
          for (let one = await take(who); one !== null; one = await take(who)) taken.push(one);
        }),
      );
      // A skipped row is free again or taken later: whoever finds nothing asks again, as the reconciler does.
      for (let one = await take(99); one !== null; one = await take(99)) taken.push(one);
      assert.equal(taken.length, 50);
      assert.equal(new Set(taken).size, 50);
    });

    test('skipping passes over a held row at once; waiting gets what the holder has left', async () => {
      await database.write((tx) => put(tx, 'held', 'before'));
      const query = (tx: Writes) => tx.selectFrom('facts').select('value').where('name', '=', 'held');
      let started: () => void = () => undefined;
      const isHeld = new Promise<void>((resolve) => (started = resolve));
      const holder = database.write(async (tx) => {
        await database.lock(query(tx), 'wait').executeTakeFirst();
        started();
        await new Promise((resolve) => setTimeout(resolve, 100));
        await tx.updateTable('facts').set({ value: 'after' }).where('name', '=', 'held').execute();
      });
      await isHeld;
      const [skipped, waited] = await Promise.all([
        database.write(async (tx) => (await database.lock(query(tx), 'skip').executeTakeFirst())?.value ?? null),
        database.write(async (tx) => (await database.lock(query(tx), 'wait').executeTakeFirst())?.value ?? null),
        holder,
      ]);
      assert.equal(waited, 'after');
      // On SQLite nobody else writes meanwhile, so nothing is ever held.
      assert.equal(skipped, database.kind === 'sqlite' ? 'after' : null);
    });

    test('of two that insert the same key one is refused, and the rest of its work is undone', async () => {
      const both = await Promise.allSettled(
        ['x', 'y'].map((who) =>
          database.write(async (tx) => {
            await put(tx, `mine ${who}`, '');
            await put(tx, 'only one', who);
          }),
        ),
      );
      assert.deepEqual(both.map((one) => one.status).toSorted(), ['fulfilled', 'rejected']);
      assert.equal((await database.reads.selectFrom('facts').select('name').where('name', 'like', 'mine %').execute()).length, 1);
    });

    test('a listener hears what was said, after who said it has gone on, until it stops', async () => {
      const heard: string[] = [];
      // Another process of the farm hears it too where there can be one.
      const other = database.kind === 'postgresql' ? await setup.open(address) : database;
      const stop = other.onNotify((what) => void heard.push(what));
      try {
        await until(() => {
          if (!heard.includes('ready')) database.notify('ready');
          return heard.includes('ready');
        });
        heard.length = 0;
        database.notify('job abc');
        assert.equal(heard.length, 0);
        await until(() => heard.includes('job abc'));
        stop();
        database.notify('late');
        await new Promise((resolve) => setTimeout(resolve, 50));
        assert.ok(!heard.includes('late'));
      } finally {
        stop();
        if (other !== database) await other.close();
      }
    });

    test('what was acknowledged is there after it was closed and opened again', async () => {
      const where = await setup.address();
      const first = await setup.open(where);
      const written = Array.from({ length: 20 }, (_, at) => first.write((tx) => put(tx, `kept ${at}`, String(at))));
      // Not waited for: closing waits for what is under way.
      const results = Promise.all(written);
      await results;
      await first.close();
      const again = await setup.open(where);
      assert.equal((await again.reads.selectFrom('facts').selectAll().execute()).length, 20);
      await again.close();
    });

    test('a database of a newer version is refused', async () => {
      const where = await setup.address();
      const first = await setup.open(where);
      await first.write((tx) =>
        sql`insert into kysely_migration (name, timestamp) values ('999-later', '2030-01-01T00:00:00.000Z')`
          .execute(tx)
          .then(() => undefined),
      );
      await first.close();
      await assert.rejects(setup.open(where), { code: 'FARM_UNUSABLE', message: /999-later/ });
      newer = where;
    });

    test('a database of a newer version is refused with what to do about it', async () => {
      await assert.rejects(setup.open(newer), { code: 'FARM_UNUSABLE', hint: /Run that version/ });
    });

    test('its name tells no secret', () => {
      assert.doesNotMatch(database.name, /:[^/]*@/);
    });
  });
}

async function put(tx: Writes, name: string, value: string): Promise<void> {
  await tx.insertInto('facts').values({ name, value }).execute();
}

async function until(holds: () => boolean): Promise<void> {
  for (const end = Date.now() + SOON; !holds(); ) {
    if (Date.now() > end) assert.fail('it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
