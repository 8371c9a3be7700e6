import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { databaseContract } from './contract.ts';
import { openDatabase } from './database.ts';

const folder = mkdtempSync(`${tmpdir()}/lockstep-database-`);
after(() => rmSync(folder, { recursive: true, force: true }));
let count = 0;

databaseContract('SQLite', {
  address: () => Promise.resolve(`${folder}/${count++}.sqlite`),
  open: (address) => openDatabase(address, () => undefined),
});

test('a work that waits is committed with others: far fewer commits than works', async () => {
  const database = await openDatabase(`${folder}/group.sqlite`, () => undefined);
  const started = performance.now();
  await Promise.all(
    Array.from({ length: 2000 }, (_, at) =>
      database.write((tx) =>
        tx
          .insertInto('facts')
          .values({ name: String(at), value: '' })
          .execute(),
      ),
    ),
  );
  assert.ok(performance.now() - started < 10_000);
  assert.equal((await database.reads.selectFrom('facts').select('name').execute()).length, 2000);
  await database.close();
});

test('openDatabase says what cannot be used, without a password', async () => {
  await assert.rejects(
    openDatabase(`${folder}/none/farm.sqlite`, () => undefined),
    { code: 'FARM_UNUSABLE' },
  );
  await assert.rejects(
    openDatabase('postgres://user:geheim@127.0.0.1:1/farm', () => undefined),
    (error: Error) => {
      assert.ok('code' in error && error.code === 'FARM_UNUSABLE');
      assert.doesNotMatch(error.message, /geheim/);
      return true;
    },
  );
});
