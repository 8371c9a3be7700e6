/**
 * What an operator does to a farm that does not run (docs/operate.md): the database made again from nothing, an older one
 * restored, an older log restored, and the move to PostgreSQL and another storage. Nothing acknowledged is lost by any.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FarmStatus } from '@lockstep/api/routes/operators';
import { withFarm } from '../packages/cli/src/farm/connect.ts';
import { pinnedProject, succeed } from './farm.ts';
import { errorOf, lockstep, startLockstep, temporaryFolder } from './lockstep.ts';
import { startPostgres } from './postgres.ts';

const root = temporaryFolder();
const farm = `${root}/farm`;
const moved = `${root}/moved`;
const OUTPUT = 'hello\n';

const running = new Set<Running>();
after(() => Promise.all([...running].map((one) => one.stop())));

interface Running {
  readonly said: () => string;
  stop(): Promise<void>;
}

interface Job {
  readonly job: string;
  readonly state: string;
  readonly reason: string;
  readonly outputs: readonly { readonly name: string; readonly sha256: string }[];
  readonly decision: unknown;
}

/** Starts it, and waits until it serves. */
async function start(folder: string, env: Readonly<Record<string, string>> = {}): Promise<Running> {
  const { child, done } = startLockstep(['farm', 'run', folder], { env });
  let said = '';
  let served = false;
  child.stdout?.once('data', () => (served = true));
  child.stderr?.on('data', (bytes: Buffer) => (said += bytes.toString()));
  const one: Running = {
    said: () => said,
    async stop() {
      running.delete(one);
      child.kill('SIGTERM');
      const { status } = await done;
      assert.equal(status, 0, said);
    },
  };
  running.add(one);
  // The first thing that it prints: that it serves.
  await until('the farm serves', () => {
    assert.equal(child.exitCode, null, said);
    return served;
  });
  return one;
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 60_000; Date.now() < end; await sleep(50)) if (await holds()) return;
  assert.fail(`not within a minute: ${what}`);
}

/** Every job with its decision. What is not a fact is left out: times, attempts, who was waited for. */
function jobsOf(folder: string): Promise<Map<string, Job>> {
  return withFarm({ farm: folder }, async ({ client }) => {
    const { jobs } = await client.call('listJobs', { query: { limit: '100' } });
    const views = await Promise.all(jobs.map(({ job }) => client.call('job', { params: { job } })));
    return new Map(
      views
        .map(({ job, state, reason, outputs, decision }) => [job, { job, state, reason, outputs, decision }] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    );
  });
}

const allDecided = async (folder: string): Promise<boolean> =>
  [...(await jobsOf(folder)).values()].every(({ state }) => state === 'decided');

function project(name: string): string {
  const folder = temporaryFolder();
  cpSync(pinned, folder, { recursive: true });
  const file = `${folder}/lockstep.toml`;
  writeFileSync(file, readFileSync(file, 'utf8').replace('name = "case"', `name = "${name}"`));
  succeed(['lock', folder, '-q']);
  return folder;
}

/** @returns the job */
function submit(folder: string, what: string): string {
  const { job, state } = JSON.parse(succeed(['submit', what, '--farm', folder, '-q', '--json'])) as Job;
  assert.equal(state, 'decided');
  return job;
}

/** Answered from what was decided: fetched, and hashed by the program and here. */
function assertFetched(folder: string, what: string): void {
  const out = temporaryFolder();
  const { files } = JSON.parse(succeed(['submit', what, '--farm', folder, '-q', '--json', '--out', `${out}/out`])) as {
    files: { path: string; sha256: string }[];
  };
  assert.equal(files.length, 1);
  for (const { path, sha256 } of files) {
    assert.equal(readFileSync(path, 'utf8'), OUTPUT);
    assert.equal(createHash('sha256').update(readFileSync(path)).digest('hex'), sha256);
  }
}

const statusOf = (folder: string): Promise<FarmStatus & { url: string }> =>
  withFarm({ farm: folder }, async ({ client, url }) => ({ ...(await client.call('status')), url }));

/** An observer's copy: refuses a log that does not continue what was copied before. */
async function mirror(folder: string): Promise<void> {
  const { log, url } = await statusOf(folder);
  succeed(['log', 'mirror', `${url}/log`, `${root}/mirror`, '--key', log.key], {
    NODE_EXTRA_CA_CERTS: `${folder}/authority/authority.pem`,
  });
}

const pinned = pinnedProject(['echo hello > out']);
const [first, second, third, last] = ['first', 'second', 'third', 'last'].map(project) as [string, string, string, string];

test('a farm: two builders, a witness; a backup, and work after it', { timeout: 180_000 }, async () => {
  succeed(['farm', 'init', farm, '--name', 'ops', '--listen', '127.0.0.1:0']);
  let one = await start(farm);
  submit(farm, first);
  await one.stop();
  mkdirSync(`${root}/backup`);
  for (const name of ['log', 'farm.sqlite']) cpSync(`${farm}/${name}`, `${root}/backup/${name}`, { recursive: true });
  one = await start(farm);
  submit(farm, second);
  await mirror(farm);
  writeFileSync(`${root}/before.json`, JSON.stringify([...(await jobsOf(farm))]));
  await one.stop();
});

const before = (): Map<string, Job> => new Map(JSON.parse(readFileSync(`${root}/before.json`, 'utf8')) as [string, Job][]);

test('reindex from nothing: the same jobs and the same decisions, and an operator who gets in', { timeout: 180_000 }, async () => {
  for (const end of ['', '-wal', '-shm']) rmSync(`${farm}/farm.sqlite${end}`, { force: true });
  const done = JSON.parse(succeed(['farm', 'reindex', farm, '--json'])) as Record<string, unknown>;
  assert.equal(done['submissions'], 2);
  assert.equal(done['decided'], 2);
  assert.deepEqual(done['passedOver'], []);
  const one = await start(farm);
  await until('every job is decided', () => allDecided(farm));
  assert.deepEqual(await jobsOf(farm), before());
  assertFetched(farm, first);
  await mirror(farm);
  await one.stop();
});

test('a restored older database learns from the log; with reindex it has every submission again', { timeout: 180_000 }, async () => {
  for (const end of ['', '-wal', '-shm']) rmSync(`${farm}/farm.sqlite${end}`, { force: true });
  cpSync(`${root}/backup/farm.sqlite`, `${farm}/farm.sqlite`);
  let one = await start(farm);
  const { size } = (await statusOf(farm)).log;
  await until('it has caught up', () => one.said().includes('the log had documents that the database did not know'));
  await one.stop();
  succeed(['farm', 'reindex', farm]);
  one = await start(farm);
  await until('every job is decided', () => allDecided(farm));
  assert.deepEqual(await jobsOf(farm), before());
  assert.equal((await statusOf(farm)).log.size, size, 'nothing was said a second time');
  assertFetched(farm, second);
  await one.stop();
});

test('a restored older log is found out by its witness: nothing is signed until the newer one is back', { timeout: 180_000 }, async () => {
  renameSync(`${farm}/log`, `${root}/newest`);
  cpSync(`${root}/backup/log`, `${farm}/log`, { recursive: true });
  const kept = ['public/checkpoint', 'cells/checkpoint.cell'].map((path) => readFileSync(`${farm}/log/${path}`, 'utf8'));
  let one = await start(farm);
  const job = succeed(['submit', third, '--farm', farm, '-q', '--no-follow']).trim();
  await until('it refuses', () => one.said().includes('"code":"LOG_ROLLED_BACK"'));
  assert.match(one.said(), /This log has \d+ entries; the witness \S+ has seen \d+/);
  await one.stop();
  assert.deepEqual(
    ['public/checkpoint', 'cells/checkpoint.cell'].map((path) => readFileSync(`${farm}/log/${path}`, 'utf8')),
    kept,
    'nothing was signed',
  );
  rmSync(`${farm}/log`, { recursive: true });
  renameSync(`${root}/newest`, `${farm}/log`);
  one = await start(farm);
  await until('the job goes on by itself', async () => (await jobsOf(farm)).get(job)?.state === 'decided');
  await mirror(farm);
  await one.stop();
});

test('migrate to PostgreSQL and another storage with the log in it: nothing is lost', { timeout: 180_000 }, async (context) => {
  const postgres = await startPostgres();
  try {
    let one = await start(farm);
    const jobs = await jobsOf(farm);
    assert.equal(jobs.size, 3);
    const early = lockstep(['farm', 'migrate', farm, farm, '--json']);
    assert.equal(errorOf(early.stdout).message, `The farm of ${farm} runs`);
    await one.stop();
    mkdirSync(moved);
    for (const name of ['policy', 'authority', 'keys', 'tokens']) cpSync(`${farm}/${name}`, `${moved}/${name}`, { recursive: true });
    const old = readFileSync(`${farm}/farm.toml`, 'utf8');
    const keys = ['storage = "objects"', `log = "${farm}/log"`, 'log_in = "storage"', `witness = "${farm}/witness"`].join('\n');
    writeFileSync(`${moved}/farm.toml`, old.replace('storage = "storage"', keys).replace('witness = "witness"', ''));
    // The address has a password: it is in the environment, and is about the new farm alone.
    const env = { LOCKSTEP_DATABASE: postgres.url };
    const report = JSON.parse(succeed(['farm', 'migrate', farm, moved, '-q', '--json'], env)) as {
      rows: Record<string, number>;
      logFiles: number;
    };
    assert.equal(report.rows['jobs'], 3);
    assert.ok(report.logFiles > 0);

    const refused = lockstep(['farm', 'run', farm, '--json'], { timeout: 20_000 });
    assert.equal(errorOf(refused.stdout).code, 'LOG_UNUSABLE', 'the old folder has no log to sign with any more');
    const again = lockstep(['farm', 'migrate', farm, moved, '-q', '--json'], { env, timeout: 20_000 });
    assert.equal(errorOf(again.stdout).code, 'FARM_UNUSABLE', 'it is copied into empty places only');

    one = await start(moved, env);
    assert.match((await statusOf(moved)).database, /^postgresql/);
    assert.deepEqual(await jobsOf(moved), jobs);
    assertFetched(moved, third);
    submit(moved, last);
    // Refuses what does not continue the copy from before.
    await mirror(moved);
    assert.equal((await jobsOf(moved)).size, 4);
    await one.stop();
  } catch (error) {
    context.diagnostic(error instanceof Error ? error.message : 'failed');
    // What a driver throws may hold the address with its password.
    throw error instanceof assert.AssertionError ? error : new Error(error instanceof Error ? error.message : 'failed');
  } finally {
    await Promise.all([...running].map((one) => one.stop()));
    await postgres.stop();
  }
});
