/** The roles beside farm and builders: a witness elsewhere, and the program that submits. */
import { execFileSync, spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { prepareAs } from './definitions.ts';
import { auditor } from './invariants.ts';
import { role, type Role } from './roles.ts';
import type { Scenario } from './scenario.ts';
import { jobsNamed, submitAll } from './storage-faults.ts';
import type { Phase } from './trap.ts';
import { freePort, makeWorld, type World } from './world.ts';

const CLI = `${import.meta.dirname}/../../packages/cli/src/main.ts`;

const witnessKilled = async (root: string, phase: Phase): Promise<void> => {
  const port = await freePort();
  let witness: Role | null = null;
  let world: World | null = null;
  try {
    const prepare = (folder: string): void => {
      cpSync(`${folder}/witness`, `${root}/witness`, { recursive: true });
      const log = readFileSync(`${folder}/log/log.json`, 'utf8').replaceAll('http://127.0.0.1:1"', `http://127.0.0.1:${port}"`);
      writeFileSync(`${folder}/log/log.json`, log.replaceAll(/http:\/\/127\.0\.0\.1:1(?=\\n|\s)/g, `http://127.0.0.1:${port}`));
      const toml = readFileSync(`${folder}/farm.toml`, 'utf8').replace('witness = "witness"', 'witness = ""');
      writeFileSync(`${folder}/farm.toml`, toml);
    };
    world = await makeWorld(root, { prepare });
    witness = role('witness', 'witness-process.ts', [`${root}/witness`, `${world.folder}/log`, String(port)], `${root}/witness.log`);
    await witness.start();
    const audit = auditor(world);
    for (const one of jobsNamed('witnessed', 1)) await world.submit(one);
    await audit.check();
    await witness.arm('cosign', phase);
    const jobs = jobsNamed('unwitnessed', 4);
    await submitAll(world, jobs);
    if (!(await witness.ended(20_000))) throw new Error('the witness was not asked');
    await witness.start();
    await audit.check();
  } finally {
    await witness?.kill();
    await world?.close();
  }
};

/** The real program, killed where it submits; then run again, as somebody would. */
const submitterKilled = async (root: string, phase: 'before' | 'after'): Promise<void> => {
  const world = await makeWorld(root);
  try {
    const project = `${root}/project`;
    mkdirSync(project);
    writeFileSync(`${project}/rootfs.tar`, execFileSync('tar', ['-c', '--files-from=/dev/null']));
    const sha256 = createHash('sha256')
      .update(readFileSync(`${project}/rootfs.tar`))
      .digest('hex');
    const toml = [
      'name = "submitted"',
      'version = "1"',
      '[source]\nref = "."\nexclude = ["rootfs.tar"]',
      `[environment]\nkind = "rootfs"\nurl = "./rootfs.tar"\nsha256 = "${sha256}"`,
      '[build]\nsteps = ["emit submitted 40 0 same end"]',
      '[[outputs]]\nfiles = "out"',
      '[resources]\nmemory_mb = 64\nscratch_mb = 64\ntimeout = 60',
    ];
    writeFileSync(`${project}/lockstep.toml`, toml.join('\n'));
    lockstep(root, ['lock', project], world);
    for (const { config } of world.builders.values()) prepareAs(config.store, `${project}/lockstep.lock`);
    const killed = lockstep(root, ['submit', project, '--no-follow'], world, phase);
    if (killed.signal !== 'SIGKILL') throw new Error(`the step was not reached: ${killed.stderr}`);
    const { jobs } = await world.client.call('listJobs', {});
    if (jobs.length !== (phase === 'before' ? 0 : 1)) throw new Error(`${jobs.length} jobs are there`);
    const again = lockstep(root, ['submit', project, '--out', `${root}/out`], world);
    if (again.status !== 0) throw new Error(`it could not be submitted again: ${again.stderr}`);
    if (readFileSync(`${root}/out/out`, 'utf8') !== 'submitted\n'.repeat(4)) throw new Error('the output is another one');
    await auditor(world).check();
  } finally {
    await world.close();
  }
};

function lockstep(root: string, args: readonly string[], { url, folder }: World, phase = 'never'): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, ['--import', `${import.meta.dirname}/submitter-hook.ts`, CLI, ...args], {
    encoding: 'utf8',
    timeout: 90_000,
    env: {
      ...process.env,
      LOCKSTEP_HOME: `${root}/submitter`,
      LOCKSTEP_FARM: url,
      LOCKSTEP_FARM_CA: `${folder}/authority/authority.pem`,
      LOCKSTEP_TOKEN: readFileSync(`${folder}/tokens/operator`, 'utf8').trim(),
      FAULT_PHASE: phase,
    },
  });
}

export const ROLE_FAULTS: readonly Scenario[] = [
  { name: 'witness killed before it cosigns', run: (root) => witnessKilled(root, 'before') },
  { name: 'witness killed after it has cosigned', run: (root) => witnessKilled(root, 'after') },
  { name: 'lockstep submit killed before it submits', run: (root) => submitterKilled(root, 'before') },
  { name: 'lockstep submit killed after it has submitted', run: (root) => submitterKilled(root, 'after') },
];
