/** A storage that fails one call in five, a disk that is full, a database that is killed, under load. */
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { FarmError } from '@lockstep/api/problem';
import { startPostgres } from '../postgres.ts';
import { testJob, type TestJob } from './definitions.ts';
import { auditor } from './invariants.ts';
import type { Scenario } from './scenario.ts';
import { LOG_IN_STORAGE, moveLog } from './shared-log.ts';
import { makeWorld, submitOnce, type World, type WorldOptions } from './world.ts';

const JOBS = 20;
/** Milliseconds for a whole run while faults go on; after them it is a minute. */
const WHOLE_RUN = 75_000;

export function jobsNamed(prefix: string, count: number, seconds = 0): TestJob[] {
  return Array.from({ length: count }, (_, at) => testJob({ word: `${prefix}-${at}`, ownSource: true, seconds }));
}

/** What they share is uploaded with the first. */
export async function submitAll(world: World, [first, ...others]: readonly TestJob[]): Promise<void> {
  if (first !== undefined) await world.submit(first);
  await Promise.all(others.map((one) => world.submit(one)));
}

/** As a CI system does whose jobs begin together: all of them upload what they share. */
const sharedInput = async (root: string): Promise<void> => {
  const world = await makeWorld(root);
  try {
    await Promise.all(jobsNamed('together', JOBS).map((one) => world.submit(one)));
    await auditor(world).check();
  } finally {
    await world.close();
  }
};

const storageErrors = async (root: string, share: number, options: WorldOptions = {}): Promise<void> => {
  const world = await makeWorld(root, options);
  try {
    const audit = auditor(world);
    await world.farm.say({ order: 'storage', share });
    const jobs = jobsNamed('bad-storage', JOBS);
    await submitAll(world, jobs);
    await world.settled(
      jobs.map((one) => one.job),
      WHOLE_RUN,
    );
    await world.farm.say({ order: 'storage', share: 0 });
    await audit.check();
  } finally {
    await world.close();
  }
};

const diskFull = async (root: string): Promise<void> => {
  const folder = `${root}/farm`;
  mkdirSync(folder, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m,mode=0700', 'lockstep-faults', folder]);
  let world: World | null = null;
  try {
    world = await makeWorld(root);
    const audit = auditor(world);
    const before = jobsNamed('before-full', 6, 1);
    for (const one of before) await world.submit(one);
    fill(`${folder}/filler`);
    const refusals: string[] = [];
    for (const one of jobsNamed('while-full', 5)) {
      await submitOnce(world.client, one).then(
        () => world?.acknowledged.set(one.job, one),
        (error: unknown) => refusals.push(error instanceof FarmError ? error.code : `not typed: ${String(error)}`),
      );
    }
    await delay(4000);
    if (!world.farm.isRunning()) throw new Error('the farm has ended by itself');
    rmSync(`${folder}/filler`);
    const after = jobsNamed('after-full', 2);
    for (const one of after) await world.submit(one);
    await audit.check();
    if (refusals.length === 0) throw new Error('nothing was refused: the disk was not full');
    const wrong = refusals.filter((one) => !['STORE_UNUSABLE', 'FARM_UNUSABLE'].includes(one));
    if (wrong.length > 0) throw new Error(`submissions were refused as ${[...new Set(wrong)].join(' | ')}`);
  } finally {
    await world?.close();
    execFileSync('umount', ['-l', folder]);
  }
};

/** Until nothing more fits. */
function fill(file: string): void {
  for (const size of [1 << 20, 4096, 512])
    for (;;) {
      try {
        appendFileSync(file, Buffer.alloc(size));
      } catch {
        break;
      }
    }
}

const postgresKilled = async (root: string): Promise<void> => {
  const postgres = await startPostgres();
  let world: World | null = null;
  try {
    world = await makeWorld(root, { env: { LOCKSTEP_DATABASE: postgres.url } });
    const audit = auditor(world);
    const jobs = jobsNamed('killed-database', JOBS);
    const submitting = submitAll(world, jobs);
    submitting.catch(() => undefined);
    for (let time = 0; time < 3; time++) {
      await delay(1200);
      await postgres.kill();
      await delay(500);
      await postgres.start();
    }
    await submitting;
    await audit.check();
    if (!world.farm.isRunning()) throw new Error('the farm has ended by itself');
  } finally {
    await world?.close();
    await postgres.stop();
  }
};

const sqliteKilled = async (root: string): Promise<void> => {
  const world = await makeWorld(root);
  try {
    const audit = auditor(world);
    const jobs = jobsNamed('killed-process', JOBS);
    const submitting = submitAll(world, jobs);
    submitting.catch(() => undefined);
    for (let time = 0; time < 4; time++) {
      await delay(900);
      await world.farm.kill();
      await world.farm.start();
      await audit.note();
    }
    await submitting;
    await audit.check();
  } finally {
    await world.close();
  }
};

const inStorage: WorldOptions = { toml: [LOG_IN_STORAGE], prepare: moveLog };

export const STORAGE_FAULTS: readonly Scenario[] = [
  { name: 'storage fails one call in fifty, 20 jobs', run: (root) => storageErrors(root, 0.02) },
  { name: 'storage fails one call in fifty, 20 jobs, the log in it too', run: (root) => storageErrors(root, 0.02, inStorage) },
  { name: 'storage fails one call in five, 20 jobs', run: (root) => storageErrors(root, 0.2) },
  {
    name: 'storage fails one call in five, 20 jobs, the log in it too',
    run: (root) => storageErrors(root, 0.2, inStorage),
  },
  {
    name: 'the same input uploaded by 20 submissions at once',
    run: sharedInput,
  },
  { name: 'disk full', run: diskFull },
  { name: 'PostgreSQL killed three times under load', run: postgresKilled },
  {
    name: 'SQLite: process killed four times under load',
    run: sqliteKilled,
  },
];
