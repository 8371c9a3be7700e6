/** Each custody of a release key with the real thing, end to end: a node approves a release, and anybody sees who has. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, existsSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { lockstep, startLockstep } from './lockstep.ts';
import { makeKey, makeNode, makeReleaseLog, releaseKeys, type ReleaseLog, requireApprovedBy, type TestNode } from './release-log.ts';

const started: ChildProcess[] = [];
after(async () => {
  for (const child of started)
    if (child.exitCode === null && child.signalCode === null) {
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      await gone;
    }
});

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let attempt = 0; !holds(); attempt++) {
    assert.ok(attempt < 600, `waited for ${what}`);
    await delay(50);
  }
}

/** What was approved is in the node's own log, which anybody can read and check. */
function ownLog(farm: ReleaseLog, node: TestNode, entries: number): void {
  const { log } = JSON.parse(readFileSync(node.card, 'utf8')) as { log: string };
  const told = JSON.parse(farm.run('log', 'verify', `${node.folder}/log/public`, '--key', log, '--json')) as { size: number };
  assert.equal(told.size, entries);
}

function secretFile(farm: ReleaseLog, name: string, secret: string): string {
  const path = `${farm.root}/${name}`;
  writeFileSync(path, `${secret}\n`, { mode: 0o600 });
  return path;
}

/** With the secret on descriptor 3, as a shell does it. */
function withSecret(farm: ReleaseLog, secret: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): string {
  return execFileSync(
    '/bin/sh',
    ['-c', `exec "$0" "$@" --passphrase-fd 3 3<${secret}`, process.execPath, `${import.meta.dirname}/../packages/cli/src/main.ts`, ...args],
    {
      encoding: 'utf8',
      env: { ...process.env, ...farm.env, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
}

test('keys in files approve: unencrypted, and with a passphrase from a file or a descriptor; a wrong passphrase is told', async () => {
  const farm = await makeReleaseLog();
  const built = await farm.build('1.0');
  const plain = await makeNode(farm, 'plain');
  const sealed = await makeNode(farm, 'sealed');
  const pass = secretFile(farm, 'pass', 'a good passphrase');
  const make = ['key', 'new', 'k2', '--use', 'release-dsse', '--algorithm', 'ed25519', '--signer', sealed.folder, '--json'];
  const { pem } = JSON.parse(farm.run(...make, '--passphrase-file', pass)) as { pem: string };
  const keys = { plain: await makeKey(plain, 'k1'), sealed: pem };
  assert.match(farm.run('key', 'list', '--signer', sealed.folder), /^k2 {2}release-dsse {2}file {2}[0-9a-f]{64}\n$/);
  releaseKeys(farm, keys, 2);
  const approve = (node: TestNode): string[] => ['release', 'approve', built.file, ...farm.trust, ...node.local, '--into', farm.log.folder];
  farm.run(...approve(plain));
  const wrong = secretFile(farm, 'wrong', 'another passphrase');
  assert.match(farm.fails('PASSPHRASE_WRONG', 5, ...approve(sealed), '--passphrase-file', wrong).message, /does not open .*k2\.json/);
  farm.fails('HOST_CANNOT', 3, ...approve(sealed));
  // The record is the one that the first has signed, and the node that was asked in vain has signed nothing.
  withSecret(farm, pass, approve(sealed));
  requireApprovedBy(farm, built.file, 'plain, sealed');
  ownLog(farm, plain, 1);
  ownLog(farm, sealed, 1);
  // Asked again, a node gives the same answer: nothing is written anew.
  farm.run('release', 'approve', built.buildId.slice(0, 12), ...farm.trust, ...plain.local);
  requireApprovedBy(farm, built.file, 'plain, sealed');
});

test('a key of a PKCS#11 token approves; a wrong PIN is told, and so is a module that is not there', async () => {
  const farm = await makeReleaseLog();
  const built = await farm.build('1.0');
  mkdirSync(`${farm.root}/tokens`);
  writeFileSync(`${farm.root}/softhsm2.conf`, `directories.tokendir = ${farm.root}/tokens\nlog.level = ERROR\n`);
  const env = { SOFTHSM2_CONF: `${farm.root}/softhsm2.conf` };
  const [pin, wrong] = [secretFile(farm, 'pin', '271828'), secretFile(farm, 'wrong', '999999')];
  execFileSync('softhsm2-util', ['--init-token', '--free', '--label', 'release', '--pin', '271828', '--so-pin', '314159'], {
    env: { ...process.env, ...env },
  });
  const node = await makeNode(farm, 'hsm');
  const make = ['key', 'new', 'k', '--use', 'release-dsse', '--signer', node.folder, '--token', 'release', '--json', '--pkcs11'];
  farm.fails('HOST_CANNOT', 3, ...make.slice(0, -2), '--pkcs11', '/nowhere.so', '--passphrase-file', pin);
  const { pem } = JSON.parse(withSecret(farm, pin, [...make, '/usr/lib/softhsm/libsofthsm2.so'], env)) as { pem: string };
  releaseKeys(farm, { hsm: pem });
  const approve = ['release', 'approve', built.file, ...farm.trust, ...node.local, '--into', farm.log.folder, '--json'];
  const refused = lockstep([...approve, '--passphrase-file', wrong], { env: { ...farm.env, ...env } });
  assert.equal(refused.status, 5, refused.stdout);
  assert.match(refused.stdout, /PASSPHRASE_WRONG/);
  withSecret(farm, pin, approve, env);
  requireApprovedBy(farm, built.file, 'hsm');
  ownLog(farm, node, 1);
});

test('a key in the memory of a node behind a serial line approves; after a restart the root names the new one', async () => {
  const farm = await makeReleaseLog();
  const built = await farm.build('1.0');
  const [here, there] = [`${farm.root}/here`, `${farm.root}/there`];
  const socat = spawn('socat', [`pty,raw,echo=0,link=${here}`, `pty,raw,echo=0,link=${there}`], { stdio: 'ignore' });
  started.push(socat);
  await until(() => existsSync(here) && existsSync(there), 'socat, which scripts/setup.sh installs');
  // A real port does not hang up when a program closes it.
  const held = [here, there].map((path) => openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK));
  const node = await makeNode(farm, 'far');
  const serve = async (): Promise<{ pem: string; stop: () => Promise<void> }> => {
    const { child, done } = startLockstep(
      ['signer', 'run', node.folder, '--serial', there, '--memory-key', 'k=release-dsse', '--yes', '--json'],
      {
        env: farm.env,
      },
    );
    started.push(child);
    const [line] = (await once(child.stdout!, 'data')) as [Buffer];
    const { keys } = JSON.parse(line.toString()) as { keys: { pem: string; custody: string }[] };
    assert.equal(keys[0]?.custody, 'memory');
    return {
      pem: keys[0].pem,
      stop: async () => {
        child.kill('SIGTERM');
        assert.equal((await done).signal ?? 'SIGTERM', 'SIGTERM');
      },
    };
  };
  const via = ['--node', `${node.card}@serial:${here}`];
  const ask = async (...args: readonly string[]): Promise<void> => {
    const ran = await startLockstep([...args, ...farm.trust, ...via, '--into', farm.log.folder], { env: farm.env }).done;
    assert.equal(ran.status, 0, ran.stderr);
  };
  const first = await serve();
  releaseKeys(farm, { far: first.pem });
  await ask('release', 'approve', built.file);
  await first.stop();
  const second = await serve();
  writeFileSync(`${farm.root}/next.pem`, second.pem);
  await ask(
    'key',
    'rotate',
    'far',
    '--to',
    `${farm.root}/next.pem`,
    '--reason',
    'restarted',
    '--root-key',
    `${farm.policyFolder}/keys/root-1.pem`,
  );
  const next = await farm.build('1.1');
  await ask('release', 'approve', next.file);
  await second.stop();
  for (const one of held) closeSync(one);
  requireApprovedBy(farm, built.file, 'far');
  requireApprovedBy(farm, next.file, 'far');
  ownLog(farm, node, 3);
});

test('a request that is carried by hand approves, and its answer is taken once and for that request only', async () => {
  const farm = await makeReleaseLog();
  const built = await farm.build('1.0');
  const node = await makeNode(farm, 'safe');
  releaseKeys(farm, { safe: await makeKey(node, 'k') });
  const [request, answer] = [`${farm.root}/request`, `${farm.root}/answer`];
  farm.run('release', 'request', built.file, ...farm.trust, '--node', node.card, '--out', request);
  farm.run('signer', 'sign', node.folder, request, '--out', answer);
  const take = ['release', 'import', request, answer, ...farm.trust, '--node', node.card];
  assert.match(farm.run(...take), /not logged yet/);
  assert.match(lockstep(['verify', built.file, ...farm.trust], { env: farm.env }).stdout, /✘ approval/);
  farm.run(...take, '--into', farm.log.folder);
  requireApprovedBy(farm, built.file, 'safe');
  ownLog(farm, node, 1);
});

interface Holders {
  readonly nodes: readonly TestNode[];
  readonly group: string;
  readonly pem: string;
}

const PARTIES = ['h1', 'h2', 'h3'];

/** All holders take part at the same time, each as a process. */
async function ceremony(farm: ReleaseLog, at: string, begin: readonly string[]): Promise<Holders> {
  const requester = farm.run('key');
  writeFileSync(`${farm.root}/requester.pem`, requester);
  const nodes = await Promise.all(
    PARTIES.map(async (name) => {
      const folder = `${farm.root}/${name}`;
      return existsSync(folder) ? { folder, card: `${folder}/card.json`, local: [] } : await makeNode(farm, name, [requester]);
    }),
  );
  const holders = nodes.flatMap(({ folder, card }) => ['--holder', `${card}@local:${folder}`]);
  farm.run(...begin, '--at', at, '--threshold', '2', ...holders);
  const done = await Promise.all(
    nodes.map(({ folder }) => {
      const args = [
        'signer',
        'join-ceremony',
        folder,
        '--at',
        at,
        '--initiator',
        `${farm.root}/requester.pem`,
        '--no-passphrase',
        '--json',
      ];
      return startLockstep(args, { env: farm.env }).done;
    }),
  );
  const keys = done.map(({ status, stdout, stderr }) => {
    assert.equal(status, 0, stderr + stdout);
    return (JSON.parse(stdout) as { pem: string }).pem;
  });
  assert.equal(new Set(keys).size, 1, 'all see the same key');
  const group = `${at}.json`;
  const { pem } = JSON.parse(farm.run('key', 'group', '--at', at, ...holders, '--out', group, '--json')) as { pem: string };
  assert.equal(pem, keys[0]);
  return { nodes, group, pem };
}

test('FROST 2 of 3, made together and dealt, approves over folders, also when one holder is gone, and not when two are', async () => {
  const farm = await makeReleaseLog();
  const made = await ceremony(farm, `${farm.root}/made`, ['key', 'threshold', 'made', '--use', 'release-dsse']);
  const dealt = await ceremony(farm, `${farm.root}/dealt`, ['key', 'threshold', 'dealt', '--use', 'release-dsse', '--dealer']);
  releaseKeys(farm, { made: made.pem, dealt: dealt.pem }, 2);
  const built = await farm.build('1.0');
  const approve = ['release', 'approve', built.file, ...farm.trust, '--into', farm.log.folder];
  farm.run(...approve, '--node', made.group);
  renameSync(`${farm.root}/h1`, `${farm.root}/gone`);
  farm.run(...approve, '--node', dealt.group);
  requireApprovedBy(farm, built.file, 'made, dealt');
  renameSync(`${farm.root}/h2`, `${farm.root}/gone-2`);
  const next = await farm.build('1.1');
  const { message } = farm.fails('CUSTODY_FAILED', 1, 'release', 'approve', next.file, ...farm.trust, '--node', made.group);
  assert.match(message, /fewer than 2 holders can be had/);
  renameSync(`${farm.root}/gone`, `${farm.root}/h1`);
  farm.run('release', 'approve', next.file, ...farm.trust, '--node', made.group, '--into', farm.log.folder);
});

test('a key that there was is split, its public key stays, and holders that serve a folder answer', async () => {
  const farm = await makeReleaseLog();
  const file = `${farm.root}/whole.json`;
  const { pem } = JSON.parse(
    farm.run('key', 'new', 'whole', '--use', 'release-dsse', '--algorithm', 'ed25519', '--out', file, '--no-passphrase', '--json'),
  ) as { pem: string };
  const split = await ceremony(farm, `${farm.root}/split`, ['key', 'split', file]);
  assert.equal(split.pem, pem);
  releaseKeys(farm, { whole: pem });
  const built = await farm.build('1.0');
  const shared = (name: string): string => `${farm.root}/box-${name}`;
  const running = PARTIES.slice(0, 2).map((name) => {
    const one = startLockstep(['signer', 'run', `${farm.root}/${name}`, '--folder', shared(name), '--json'], { env: farm.env });
    started.push(one.child);
    return one;
  });
  const card = JSON.parse(readFileSync(split.group, 'utf8')) as { holders: { name: string; via: string }[] };
  for (const one of card.holders) one.via = `folder:${shared(one.name)}`;
  writeFileSync(split.group, JSON.stringify(card));
  const ran = await startLockstep(['release', 'approve', built.file, ...farm.trust, '--node', split.group, '--into', farm.log.folder], {
    env: farm.env,
  }).done;
  assert.equal(ran.status, 0, ran.stderr);
  assert.match(ran.stdout, /signed by h1, h2/);
  requireApprovedBy(farm, built.file, 'whole');
  for (const { child, done } of running) {
    child.kill('SIGTERM');
    await done;
  }
});
