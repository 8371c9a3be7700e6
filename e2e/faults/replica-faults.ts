/** Two replicas of a farm on PostgreSQL and one storage; each dies under load, and whoever asks goes to the other. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { startPostgres } from '../postgres.ts';
import { auditor } from './invariants.ts';
import { type Role, role } from './roles.ts';
import type { Scenario } from './scenario.ts';
import { LOG_IN_STORAGE, moveLog } from './shared-log.ts';
import { jobsNamed, submitAll } from './storage-faults.ts';
import { freePort, makeWorld, type World } from './world.ts';

const replicaKilled = async (root: string): Promise<void> => {
  const postgres = await startPostgres();
  const second = await freePort();
  const env = { LOCKSTEP_DATABASE: postgres.url };
  let world: World | null = null;
  let other: Role | null = null;
  try {
    const prepare = (folder: string): void => {
      moveLog(folder);
      const toml = readFileSync(`${folder}/farm.toml`, 'utf8')
        .replace('storage = "storage"', `storage = "${folder}/storage"`)
        .replace('witness = "witness"', `witness = "${folder}/witness"`);
      writeFileSync(`${folder}/farm.toml`, toml);
      cpSync(folder, `${root}/second`, { recursive: true });
      writeFileSync(`${root}/second/farm.toml`, toml.replace(/listen = .*/, `listen = "127.0.0.1:${second}"`));
    };
    world = await makeWorld(root, { env, morePorts: [second], toml: [LOG_IN_STORAGE], prepare });
    cpSync(`${world.folder}/authority`, `${root}/second/authority`, { recursive: true });
    cpSync(`${world.folder}/tokens`, `${root}/second/tokens`, { recursive: true });
    other = role('second replica', 'farm-process.ts', [`${root}/second`], `${root}/second.log`, env);
    await other.start();
    const audit = auditor(world);
    const jobs = jobsNamed('replica', 20);
    const submitting = submitAll(world, jobs);
    submitting.catch(() => undefined);
    await delay(1500);
    // The first has led since it was alone.
    await world.farm.kill();
    await submitting;
    await world.settled([...world.acknowledged.keys()], 60_000);
    await world.farm.start();
    await submitAll(world, jobsNamed('replica-again', 20));
    await other.kill();
    await audit.check();
  } finally {
    await other?.kill();
    await world?.close();
    await postgres.stop();
  }
};

export const REPLICA_FAULTS: readonly Scenario[] = [
  { name: 'two replicas on PostgreSQL, each killed once under load', run: replicaKilled },
];
