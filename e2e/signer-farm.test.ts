/** A signing node that pulls from a farm over HTTPS: what two builders agreed on is unsigned, until it is approved through the post box. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { pinnedProject } from './farm.ts';
import { freePort } from './free-port.ts';
import { lockstep, type Ran, startLockstep, temporaryFolder } from './lockstep.ts';

test('signer run --farm pulls a request, answers it, and the farm says who approved', { timeout: 120_000 }, async () => {
  const root = temporaryFolder();
  const farm = `${root}/farm`;
  const env = { LOCKSTEP_HOME: `${root}/home` };
  const run = (status: number, ...args: readonly string[]): Ran => {
    const ran = lockstep(args, { env });
    assert.equal(ran.status, status, `${args.join(' ')}\n${ran.stdout}${ran.stderr}`);
    return ran;
  };
  run(0, 'farm', 'init', farm, '--home', '--name', 'home', '--listen', `127.0.0.1:${await freePort()}`);
  const project = pinnedProject(['echo made > out']);
  run(0, 'lock', project, '-q');
  const serving = startLockstep(['farm', 'run', farm], { env });
  const children = [serving];
  const at = ['--farm', farm];
  try {
    await new Promise((resolve) => serving.child.stdout?.once('data', resolve));
    const submitted = run(0, 'submit', project, '--out', `${root}/out`, ...at);
    assert.match(submitted.stdout, /^UNSIGNED: /m);
    const file = `${root}/out/out`;
    const trust = ['--root', `${farm}/policy/repository/metadata/1.root.json`, '--policy', `${farm}/policy`, '--log', `${farm}/log/public`];
    assert.match(run(6, 'verify', file, ...trust).stdout, /approval +FAIL: UNSIGNED/);
    assert.match(run(0, 'verify', file, ...trust, '--unsigned').stdout, /UNSIGNED/);
    assert.match(
      run(0, 'farm', 'why', JSON.parse(run(0, 'farm', 'jobs', ...at, '--json').stdout).jobs[0].job, ...at).stdout,
      /UNSIGNED until then/,
    );

    const card = `${farm}/signer/card.json@farm:${farm}`;
    const nobody = run(1, 'release', 'approve', file, ...at, '--node', card, '--timeout', '1');
    assert.match(nobody.stderr, /has not fetched/);

    const { name } = JSON.parse(readFileSync(`${farm}/signer/card.json`, 'utf8')) as { name: string };
    const { token } = JSON.parse(run(0, 'farm', 'token', name, 'signer', ...at, '--json').stdout) as { token: string };
    const { url, authority } = JSON.parse(readFileSync(`${farm}/client.json`, 'utf8')) as { url: string; authority: string };
    writeFileSync(`${root}/authority.pem`, authority);
    const wrong = startLockstep(['signer', 'run', `${farm}/signer`, '--farm', url, '--ca', `${root}/authority.pem`], {
      env: { ...env, LOCKSTEP_TOKEN: 'not-a-token-of-this-farm' },
    });
    children.push(wrong);
    assert.equal((await wrong.done).status, 5);
    const node = startLockstep(['signer', 'run', `${farm}/signer`, '--farm', url, '--ca', `${root}/authority.pem`], {
      env: { ...env, LOCKSTEP_TOKEN: token },
    });
    children.push(node);
    const approved = run(0, 'release', 'approve', file, ...at, '--node', card, '--out', `${root}/out`, '--timeout', '60');
    assert.match(approved.stdout, /^signed by home-signer: release-dsse, release-minisign$/m);
    assert.match(approved.stdout, /release\.[0-9a-f]{8}\.sigstore\.json$/m);
    assert.match(run(0, 'verify', file, ...trust).stdout, /approval +pass: release \(1 of 1 needed\)/);
    assert.match(run(0, 'submit', project, ...at).stdout, /^approved by release$/m);
  } finally {
    for (const { child } of children.toReversed()) child.kill('SIGTERM');
    await Promise.all(children.map(({ done }) => done));
  }
});
