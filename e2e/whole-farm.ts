/**
 * A whole farm, from a submission to a verdict, while things go wrong: a replica is killed under load, a builder falls
 * silent, the network is cut, a builder lies. The same story in both configurations:
 *
 *   node e2e/whole-farm.ts sqlite     one process, SQLite, a folder; about a minute; part of npm test
 *   node e2e/whole-farm.ts postgres   npm run whole-farm: PostgreSQL, radosgw, two API replicas, a witness, and three builders in
 *                                     network namespaces of their own; about five minutes
 *
 * Every service is supervised by s6 with the files of deploy/s6.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JobView } from '@lockstep/api/routes/jobs';
import { type Definition, definitionToJson, makeDefinition } from '@lockstep/protocol/definition/definition';
import { parseLock } from '@lockstep/protocol/lock/lock';
import { parseManifest } from '@lockstep/protocol/manifest/toml';
import { pinnedProject } from './farm.ts';
import { leftovers, temporaryFolder } from './lockstep.ts';
import { startS6 } from './s6-tree.ts';
import { endVerbs, must, sqliteFarm, until, type WholeFarm } from './whole-farm-parts.ts';
import { freePort } from './free-port.ts';

type Configuration = 'sqlite' | 'postgres';

/** Seconds within which a farm has to be well again by itself. */
const RECOVERY = 60;
const LOAD = 14;

export async function wholeFarm(context: TestContext, configuration: Configuration): Promise<void> {
  const root = temporaryFolder();
  // The API is not root, and reads below it.
  chmodSync(root, 0o755);
  // The operator's, and that of the project's author.
  process.env['LOCKSTEP_HOME'] = `${root}/home`;
  const tree = startS6(root);
  let farm: WholeFarm | null = null;
  let stopStorage: () => Promise<void> = () => Promise.resolve();
  try {
    if (configuration === 'sqlite') farm = await sqliteFarm(root, tree, await freePort());
    else {
      const { postgresFarm } = await import('./whole-farm-apart.ts');
      farm = await postgresFarm(root, tree, (stop) => (stopStorage = stop));
    }
    await story(context, farm);
  } catch (error) {
    for (const service of farm?.services ?? []) context.diagnostic(`${service.name}: ${service.said().slice(-3000)}`);
    throw error;
  } finally {
    endVerbs();
    await tree.stop();
    await stopStorage();
  }
  assert.deepEqual(leftovers(), []);
}

async function story(context: TestContext, farm: WholeFarm): Promise<void> {
  const started = Date.now();
  const told = (what: string): void => context.diagnostic(`${((Date.now() - started) / 1000).toFixed(1).padStart(6)} s  ${what}`);
  const folder = pinnedProject(['for i in 1 2 3; do echo line $i; sleep 1; done; echo whole > out']);
  const jobs: string[] = [];

  jobs.push(await agreement(farm, folder));
  told('a submitted project is agreed on; its outputs are fetched and hashed again');
  const first = await checkpoint(farm);

  jobs.push(...(await killedUnderLoad(farm, folder, told)));
  told(`a replica was killed under load: all of ${LOAD} acknowledged submissions are decided`);

  if (farm.replicas.length > 1) {
    jobs.push(...(await withoutOne(farm, folder)));
    told('a replica was killed and kept away: builders and verbs found the other one');
  }

  jobs.push(...(await silenced(farm, folder)));
  told('a silenced builder’s job was leased again');

  if (farm.cutNetwork !== null) {
    jobs.push(...(await cut(farm, farm.cutNetwork, folder)));
    told('the network was cut and is back: the farm recovered without hands');
  }

  const held = await dishonest(farm, folder);
  told('a dishonest builder’s dissent holds the definition: two against one have not outvoted it');

  // The liar is shut out; the farm goes on.
  must(await farm.cli(['farm', 'retire', farm.third.name]), 'farm retire');
  const last = await submitVariants(farm, variants(folder, 'after', 1, 'echo after > out'));
  await decided(farm, last, RECOVERY);
  jobs.push(...last);

  await invariants(farm, jobs, held, first);
  told('every submission has its verdict, once, in a log that only grew, and each can be decided again from it');
}

/** Submit, watch while it builds, fetch. */
async function agreement(farm: WholeFarm, folder: string): Promise<string> {
  const job = must(await farm.cli(['submit', folder, '--no-follow', '-q']), 'submit').trim();
  assert.match(job, /^[0-9a-f]{64}$/);
  const short = job.slice(0, 12);
  await until('an attempt', 30, async () => ((await farm.client.call('job', { params: { job } })).attempts.length > 0 ? true : null));
  const following = farm.cli(['transcript', '-f', short]);
  const [status, listed, why, builders] = await Promise.all(
    [['status'], ['jobs'], ['why', short], ['builders']].map(async (verb) => must(await farm.cli(['farm', ...verb]), verb[0] ?? '')),
  );
  assert.match(status ?? '', /jobs +1 (?:building|revealing)/);
  assert.match(status ?? '', /builders +3 of 3 are here/);
  assert.match(listed ?? '', new RegExp(`${short} +(?:building|revealing)`));
  assert.match(why ?? '', /waits for (?:builder-\d|third|b\d|the log|the others)/);
  for (const name of [...farm.honest, farm.third.name]) assert.match(builders ?? '', new RegExp(`${name} +here`));
  const out = `${farm.root}/out`;
  const shown = must(await farm.cli(['submit', folder, '--out', out, '--json']), 'submit --out');
  const { state, outputs } = JSON.parse(shown) as Pick<JobView, 'state' | 'outputs'>;
  assert.equal(state, 'decided');
  assert.equal(readFileSync(`${out}/out`, 'utf8'), 'whole\n');
  assert.deepEqual(
    outputs.map((one) => one.sha256),
    [createHash('sha256').update('whole\n').digest('hex')],
  );
  assert.match(must(await following, 'transcript -f'), /line 1\n[^]*line 2\n[^]*line 3\n/);
  return job;
}

/** Definitions that differ in their version alone: what was uploaded for the first will do for all. */
function variants(folder: string, name: string, count: number, step: string): Definition[] {
  const file = `${folder}/lockstep.toml`;
  const manifest = parseManifest(readFileSync(file, 'utf8'), file);
  const lock = parseLock(readFileSync(`${folder}/lockstep.lock`), 'lockstep.lock');
  return Array.from({ length: count }, (_, at) =>
    makeDefinition({ ...manifest, name, version: String(at + 1), build: { ...manifest.build, steps: [{ name: step, run: step }] } }, lock),
  );
}

/** As a client would that insists: a submission that was not acknowledged is made again. */
async function submitVariants(farm: WholeFarm, definitions: readonly Definition[]): Promise<string[]> {
  return Promise.all(
    definitions.map((definition) =>
      until(
        'an acknowledged submission',
        RECOVERY,
        async () => (await farm.client.call('submit', { body: { definition: definitionToJson(definition) as never, priority: 0 } })).job,
      ),
    ),
  );
}

async function decided(farm: WholeFarm, jobs: readonly string[], seconds: number): Promise<JobView[]> {
  return Promise.all(
    jobs.map((job) =>
      until(`a verdict on ${job.slice(0, 12)}`, seconds, async () => {
        const view = await farm.client.call('job', { params: { job } });
        if (['failed', 'cancelled', 'disputed'].includes(view.state)) throw new Error(`${view.state}: ${view.reason}`);
        return view.state === 'decided' ? view : null;
      }),
    ),
  );
}

async function killedUnderLoad(farm: WholeFarm, folder: string, told: (what: string) => void): Promise<string[]> {
  const definitions = variants(folder, 'load', LOAD, 'sleep 0.5; echo load > out');
  const jobs = await submitVariants(farm, definitions.slice(0, LOAD - 2));
  await until('a job that is being built', 30, async () =>
    (await farm.client.call('listBuilders')).builders.some((one) => one.running > 0) ? true : null,
  );
  const { queued, building, revealing } = (await farm.client.call('status')).jobs;
  assert.ok(queued + building + revealing >= 10, 'ten jobs or more are under way');
  const [replica] = farm.replicas;
  const before = await replica?.pid();
  await replica?.signal('SIGKILL');
  const killed = Date.now();
  // Who submits in this moment is not acknowledged, or not lost.
  jobs.push(...(await submitVariants(farm, definitions.slice(LOAD - 2))));
  await until('the replica, started again', 30, async () => ([null, before].includes(await replica?.pid()) ? null : true));
  await replica?.ready(30);
  told(`the replica that was killed serves again after ${((Date.now() - killed) / 1000).toFixed(1)} s`);
  await decided(farm, jobs, 2 * RECOVERY);
  return jobs;
}

/** The replica that everybody uses is killed and stays away: the other one is found by the same name. */
async function withoutOne(farm: WholeFarm, folder: string): Promise<string[]> {
  const [replica] = farm.replicas;
  const jobs = await submitVariants(farm, variants(folder, 'without', 3, 'sleep 1; echo without > out'));
  await replica?.keepDown();
  assert.equal(await replica?.pid(), null);
  await decided(farm, jobs, RECOVERY);
  assert.match(must(await farm.cli(['farm', 'status']), 'farm status'), /builders +3 of 3 are here/);
  await replica?.up();
  await replica?.ready(30);
  return jobs;
}

/** The third builder is stopped in the middle of a build: another one does it. */
async function silenced(farm: WholeFarm, folder: string): Promise<string[]> {
  const { name, service } = farm.third;
  const jobs = await submitVariants(farm, variants(folder, 'silence', 3, 'sleep 2; echo silence > out'));
  const held = await until('a job that the third builder builds', 40, async () => {
    const views = await Promise.all(jobs.map((job) => farm.client.call('job', { params: { job } })));
    return views.find((view) => view.attempts.some((one) => one.builder === name && one.state === 'leased')) ?? null;
  });
  await service.signal('SIGSTOP');
  try {
    await decided(farm, jobs, RECOVERY);
  } finally {
    await service.signal('SIGCONT');
  }
  const { attempts } = await farm.client.call('job', { params: { job: held.job } });
  const silent = attempts.find((one) => one.builder === name);
  assert.ok(silent !== undefined && ['expired', 'superseded'].includes(silent.state), `the silent one is ${silent?.state}`);
  assert.equal(attempts.filter((one) => one.state === 'revealed').length, 2);
  assert.match(must(await farm.cli(['farm', 'why', held.job.slice(0, 12)]), 'farm why'), /third|b3/);
  // It hears that it has been given up, and goes on.
  await until('the silent one to be told', RECOVERY, () =>
    Promise.resolve(/the lease is over|is not wanted now/.test(service.said()) || null),
  );
  await until('the third builder again', RECOVERY, async () => {
    const { builders } = await farm.client.call('listBuilders');
    return builders.find((one) => one.name === name)?.alive === true ? true : null;
  });
  return jobs;
}

async function cut(farm: WholeFarm, cutNetwork: NonNullable<WholeFarm['cutNetwork']>, folder: string): Promise<string[]> {
  const jobs = await submitVariants(farm, variants(folder, 'cut', 4, 'sleep 3; echo cut > out'));
  await until('builds', 30, async () => ((await farm.client.call('listBuilders')).builders.some((one) => one.running > 0) ? true : null));
  await cutNetwork(20);
  await decided(farm, jobs, RECOVERY);
  await until('all builders', RECOVERY, async () => {
    const { builders } = await farm.client.call('listBuilders');
    return builders.every((one) => one.alive) ? true : null;
  });
  return jobs;
}

/** @returns the job that is held */
async function dishonest(farm: WholeFarm, folder: string): Promise<string> {
  await farm.third.lie();
  await farm.third.service.ready(30);
  const [definition] = variants(folder, 'held-by-dissent', 1, 'echo true > out');
  assert.ok(definition !== undefined);
  const [job = ''] = await submitVariants(farm, [definition]);
  const view = await until('a dispute', RECOVERY, async () => {
    const found = await farm.client.call('job', { params: { job } });
    return ['disputed', 'decided', 'failed'].includes(found.state) ? found : null;
  });
  assert.equal(view.state, 'disputed', view.reason);
  const { groups } = view.decision as { groups: { builders: string[]; independent: number }[] };
  assert.deepEqual(
    groups.map((one) => [...one.builders].sort()),
    [[...farm.honest].sort(), [farm.third.name]],
  );
  assert.deepEqual(view.outputs, []);
  const why = must(await farm.cli(['farm', 'why', job.slice(0, 12)]), 'farm why');
  assert.match(why, /builders disagree/);
  await sleep(3000);
  assert.equal((await farm.client.call('job', { params: { job } })).state, 'disputed');
  return job;
}

async function checkpoint(farm: WholeFarm): Promise<Uint8Array> {
  return new Uint8Array(await (await farm.client.call('logFile', { params: { path: 'checkpoint' } })).arrayBuffer());
}

/** What has to hold whatever happened, seen by somebody who has only the log, its key and the policy. */
async function invariants(farm: WholeFarm, jobs: readonly string[], held: string, first: Uint8Array): Promise<void> {
  for (const view of await decided(farm, jobs, RECOVERY))
    for (const { sha256 } of view.outputs) {
      const bytes = await (await farm.client.call('output', { params: { job: view.job, sha256 } })).arrayBuffer();
      assert.equal(createHash('sha256').update(new Uint8Array(bytes)).digest('hex'), sha256);
    }
  const mirror = `${farm.root}/mirror`;
  const reader = { NODE_EXTRA_CA_CERTS: farm.authorityFile };
  must(await farm.cli(['log', 'mirror', farm.log.url, mirror, '--key', farm.log.key], reader), 'log mirror');
  must(await farm.cli(['log', 'verify', mirror, '--key', farm.log.key]), 'log verify');
  const [one, two] = [`${farm.root}/first`, `${farm.root}/last`];
  writeFileSync(one, first);
  writeFileSync(two, readFileSync(existsSync(`${mirror}/checkpoint`) ? `${mirror}/checkpoint` : `${mirror}/public/checkpoint`));
  must(await farm.cli(['log', 'verify', one, two, '--log', mirror, '--key', farm.log.key]), 'log verify of two checkpoints');
  const trust = ['--policy', farm.policyFolder, '--root', `${farm.policyFolder}/repository/metadata/1.root.json`];
  const audit = JSON.parse(must(await farm.cli(['quorum', 'audit', ...trust, '--log', mirror, '--json']), 'quorum audit')) as {
    outcomes: { buildId: string; result: string; state: string }[];
  };
  assert.deepEqual(
    audit.outcomes.filter((outcome) => outcome.state !== 'same'),
    [],
  );
  // One verdict on each definition, and on nothing else.
  assert.deepEqual(
    audit.outcomes.map((outcome) => `${outcome.buildId} ${outcome.result}`).sort(),
    [...new Set(jobs)]
      .map((job) => `${job} agreed`)
      .concat(`${held} disputed`)
      .sort(),
  );
}

if (import.meta.main) {
  const [wanted = 'sqlite'] = process.argv.slice(2);
  if (wanted !== 'sqlite' && wanted !== 'postgres') throw new Error('usage: node e2e/whole-farm.ts [sqlite|postgres]');
  // A network of its own, which ends with it.
  if (wanted === 'postgres' && process.env['LOCKSTEP_OWN_NETWORK'] !== '1') {
    const again = spawnSync('unshare', ['--net', '--', process.execPath, import.meta.filename, wanted], {
      stdio: 'inherit',
      env: { ...process.env, LOCKSTEP_OWN_NETWORK: '1' },
    });
    process.exitCode = again.status ?? 1;
  } else {
    // What is to be done at the end is done then too.
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
    void test(`a whole farm: ${wanted}`, { timeout: 600_000 }, (context) => wholeFarm(context, wanted));
  }
}
