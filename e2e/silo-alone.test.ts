/** The silo, bundled, packed, installed alone in a folder of its own, and run by hand on a directory made by hand. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { bundleSilo } from '../scripts/bundle.ts';
import { ROOT, temporaryFolder } from './lockstep.ts';
import { EXAMPLE_JOB } from './silo-job.ts';

test('the silo runs from its own package, with nothing of the rest', async () => {
  const stage = temporaryFolder();
  const manifest = JSON.parse(readFileSync(`${ROOT}/packages/silo/package.json`, 'utf8')) as Record<string, unknown>;
  assert.equal(manifest['dependencies'], undefined, 'it has no dependencies');
  cpSync(`${ROOT}/packages/silo/package.json`, `${stage}/package.json`);
  await bundleSilo(`${stage}/dist`);
  const packed = JSON.parse(execFileSync('npm', ['pack', '--json', '--silent', '--ignore-scripts'], { cwd: stage, encoding: 'utf8' })) as {
    filename: string;
  }[];
  const installed = temporaryFolder();
  writeFileSync(`${installed}/package.json`, '{"private":true}');
  const install = spawnSync('npm', ['install', '--offline', '--no-audit', '--no-fund', '--silent', `${stage}/${packed[0]?.filename}`], {
    cwd: installed,
    encoding: 'utf8',
  });
  assert.equal(install.status, 0, install.stderr);
  assert.deepEqual(
    readdirSync(`${installed}/node_modules`).filter((name) => !name.startsWith('.')),
    ['@lockstep'],
  );

  const scratch = temporaryFolder();
  mkdirSync(`${scratch}/inputs`);
  writeFileSync(`${scratch}/inputs/greeting`, 'hello from inputs\n');
  writeFileSync(
    `${scratch}/job.json`,
    JSON.stringify({
      ...EXAMPLE_JOB,
      inputs: [{ path: 'inputs/greeting', target: '/build/source/greeting', as: 'file', strip: 0 }],
      steps: [{ name: 'build', run: 'echo building' }],
      outputs: [{ kind: 'files', path: 'greeting' }],
    }),
  );
  const run = spawnSync(`${installed}/node_modules/.bin/lockstep-silo`, ['run', scratch], {
    encoding: 'utf8',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LOCKSTEP_NODE: process.execPath },
  });
  assert.equal(run.status, 0, run.stderr);
  assert.equal(readFileSync(`${scratch}/outputs/greeting`, 'utf8'), 'hello from inputs\n');
  assert.match(readFileSync(`${scratch}/transcript`, 'utf8'), /building/);
  assert.equal((JSON.parse(readFileSync(`${scratch}/result.json`, 'utf8')) as { status: string }).status, 'ok');

  const plan = spawnSync(`${installed}/node_modules/.bin/lockstep-silo`, ['plan', scratch], {
    encoding: 'utf8',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LOCKSTEP_NODE: process.execPath },
  });
  assert.equal(plan.status, 0);
  assert.equal((JSON.parse(plan.stdout) as { oci: { process: { noNewPrivileges: boolean } } }).oci.process.noNewPrivileges, true);
});
