/** The contract of databases on a real PostgreSQL, and what only a server can do: end in the middle and come back. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { databaseContract } from '@lockstep/control-plane/database/contract';
import { type Database, openDatabase } from '@lockstep/control-plane/database/database';
import { buildAll, built, commitWork, leaseAll } from '@lockstep/control-plane/rounds/work-samples';
import { definitionOf, sampleFarm } from '@lockstep/control-plane/samples';
import { advance } from '@lockstep/control-plane/reconcile/advance';
import pg from 'pg';
import { startPostgres, type TestPostgres } from './postgres.ts';

describe('PostgreSQL', () => {
  let server: TestPostgres;
  before(async () => {
    server = await startPostgres();
  });
  after(() => server.stop());

  const emptyDatabase = async (): Promise<string> => {
    const name = `contract_${randomBytes(6).toString('hex')}`;
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    await client.query(`create database ${name}`);
    await client.end();
    const url = new URL(server.url);
    url.pathname = `/${name}`;
    return url.href;
  };

  databaseContract('PostgreSQL', {
    address: emptyDatabase,
    open: (address) => openDatabase(address, () => undefined),
  });

  test('a job goes its whole way on PostgreSQL', async () => {
    const sample = await sampleFarm({ database: server.url, rule: { commitments: 'required' } });
    const definition = definitionOf({ version: 'whole' });
    const job = await sample.submit(definition);
    await buildAll(sample, definition);
    const view = await sample.client(await sample.token('reader', 'observer')).call('job', { params: { job } });
    assert.deepEqual([view.state, view.attempts.length], ['decided', 2]);
    await sample.close();
  });

  test('builders, cancellation and the reconciler at the same rows at once end without a deadlock', async () => {
    const failed: string[] = [];
    const sample = await sampleFarm({
      database: server.url,
      rule: { commitments: 'required', quorum: 2 },
      builders: 6,
      limits: { spares: 0, leaseSeconds: 1e6 },
      journal: (level, message, fields) => {
        if (level === 'error' || level === 'warn') failed.push(`${message} ${String(fields?.['error'])}`);
      },
    });
    const operator = sample.client(await sample.token('op', 'operator'));
    const definitions = Array.from({ length: 30 }, (_, at) => definitionOf({ version: `race-${at}` }));
    const jobs = await sample.enqueue(definitions);
    await sample.settle();
    const all = (await leaseAll(sample)).map(({ builder, lease }) => ({
      builder,
      lease,
      definition: definitions[jobs.indexOf(lease.job)],
    }));
    const works = all.flatMap((one) => (one.definition === undefined ? [] : [built(one.builder, one.lease, one.definition)]));
    assert.ok(works.length >= 8);
    // Half of the time for commitments is over: the reconciler ends rounds while builders write and people cancel.
    sample.clock.time += 3_000_000;
    const acts = works.flatMap((work, at) => [
      () => commitWork(work),
      () => advance(sample.farm, work.lease.job).then(() => undefined),
      () => (at % 2 === 0 ? operator.call('cancelJob', { params: { job: work.lease.job } }).then(() => undefined) : commitWork(work)),
    ]);
    const ended = await Promise.allSettled(acts.map((act) => act()));
    const codes = ended.flatMap((one) => (one.status === 'rejected' ? [(one.reason as { code?: string }).code ?? String(one.reason)] : []));
    const faults = codes.filter((code) => !['LEASE_STALE', 'ROUND_REFUSED', 'JOB_STATE'].includes(code));
    await sample.close();
    assert.deepEqual({ faults, failed }, { faults: [], failed: [] });
  });

  test('replicas that start at once migrate an empty database once', async () => {
    const where = await emptyDatabase();
    const all = await Promise.all(Array.from({ length: 4 }, () => openDatabase(where, () => undefined)));
    for (const one of all) assert.deepEqual(await one.reads.selectFrom('jobs').selectAll().execute(), []);
    await Promise.all(all.map((one) => one.close()));
  });

  test('what was acknowledged outlives the server’s death, and both ends find each other again', async (context) => {
    if (process.env['DATABASE_URL'] !== undefined) return context.skip('the server of DATABASE_URL is not ours to end');
    const database = await openDatabase(server.url, () => undefined);
    const acknowledged: string[] = [];
    const writing = { ended: false };
    const writer = (async () => {
      for (let at = 0; !writing.ended; at++) {
        const name = `write ${at}`;
        await write(database, name).then(
          () => acknowledged.push(name),
          () => new Promise((resolve) => setTimeout(resolve, 50)),
        );
      }
    })();
    const heard: string[] = [];
    database.onNotify((what) => void heard.push(what));
    let before = 0;
    try {
      await new Promise((resolve) => setTimeout(resolve, 300));
      await server.kill();
      before = acknowledged.length;
      await server.start();
      for (const end = Date.now() + 20_000; (acknowledged.length === before || !heard.includes('again')) && Date.now() < end; ) {
        database.notify('again');
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    } finally {
      writing.ended = true;
      await writer;
    }
    assert.ok(before > 0 && acknowledged.length > before, 'it writes before and after');
    assert.ok(heard.includes('again'), 'it listens again');
    const rows = await database.reads.selectFrom('facts').select('name').execute();
    const there = new Set(rows.map((row) => row.name));
    assert.deepEqual(
      acknowledged.filter((name) => !there.has(name)),
      [],
    );
    await database.close();
  });
});

/** Takes its time, so that the server mostly ends between two statements of a transaction. */
async function write(database: Database, name: string): Promise<void> {
  await database.write(async (tx) => {
    await tx.insertInto('facts').values({ name, value: '' }).execute();
    await new Promise((resolve) => setTimeout(resolve, 3));
  });
}
