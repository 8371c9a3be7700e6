/**
 * The files of deploy/, each by its own tool: s6 runs its service folders (the whole farm: whole-farm.long.test.ts), systemd
 * checks its units and says how exposed they are. What has no tool here is checked against what it names.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { succeed } from './farm.ts';
import { CLI, lockstep, ROOT, temporaryFolder } from './lockstep.ts';
import { type S6Tree, startS6 } from './s6-tree.ts';

const DEPLOY = `${ROOT}/deploy`;
const LOCKSTEP = `${process.execPath} ${CLI}`;
const units = (): string[] => globSync(`${DEPLOY}/systemd/*.service`).sort();

/** Highest exposure by systemd's own reckoning (0 to 10); builders mount and make namespaces, so little can be taken from them. */
const EXPOSURE: Readonly<Record<string, number>> = {
  'lockstep-api.service': 1.5,
  'lockstep-witness.service': 1.5,
  'lockstep-signer.service': 1.5,
  'lockstep-builder.service': 9,
  'lockstep-farm.service': 9,
};

test('systemd takes the units, and finds them no more exposed than their role is', () => {
  assert.deepEqual(
    units().map((unit) => basename(unit)),
    Object.keys(EXPOSURE).sort(),
  );
  const folder = temporaryFolder();
  for (const unit of units()) {
    const text = readFileSync(unit, 'utf8');
    assert.match(text, /^ExecStart=\/usr\/local\/bin\/lockstep /m);
    // It asks whether the program is there.
    const copy = `${folder}/${basename(unit)}`;
    writeFileSync(copy, text.replaceAll('/usr/local/bin/lockstep', process.execPath));
    const verified = spawnSync('systemd-analyze', ['verify', '--man=no', copy], { encoding: 'utf8' });
    assert.equal(`${verified.stdout}${verified.stderr}`.trim(), '', basename(unit));
    assert.equal(verified.status, 0, basename(unit));
    const most = Math.round((EXPOSURE[basename(unit)] ?? 0) * 10);
    const secure = spawnSync('systemd-analyze', ['security', '--offline=true', '--no-pager', `--threshold=${most}`, copy], {
      encoding: 'utf8',
    });
    assert.equal(secure.status, 0, secure.stdout.trim().split('\n').at(-1));
  }
});

test('systemd would refuse a unit with a misspelt setting', () => {
  const copy = `${temporaryFolder()}/lockstep-api.service`;
  writeFileSync(copy, readFileSync(`${DEPLOY}/systemd/lockstep-api.service`, 'utf8').replace('NoNewPrivileges', 'NoNewPrivilege'));
  const verified = spawnSync('systemd-analyze', ['verify', '--man=no', copy], { encoding: 'utf8' });
  assert.match(`${verified.stdout}${verified.stderr}`, /NoNewPrivilege/);
});

test('every unit, run script and image starts a verb that there is, with options that it has', () => {
  const lines = [
    ...units().map((file) => /^ExecStart=\S+ (.*)$/m.exec(readFileSync(file, 'utf8'))?.[1] ?? ''),
    ...globSync(`${DEPLOY}/s6/*/run`).map((file) => /\$\{LOCKSTEP:-lockstep\} (.*)'/.exec(readFileSync(file, 'utf8'))?.[1] ?? ''),
    ...readFileSync(`${DEPLOY}/container/Containerfile`, 'utf8')
      .split('\n')
      .flatMap((line) => {
        const command = /^CMD (\[.*\])$/.exec(line)?.[1];
        return command === undefined ? [] : [(JSON.parse(command) as string[]).join(' ')];
      }),
  ];
  assert.equal(lines.length, 5 + 4 + 2);
  for (const line of lines) {
    const words = line.split(' ');
    const verb = words[0] === 'witness' ? ['witness'] : words.slice(0, 2);
    const help = lockstep([...verb, '--help']).stdout;
    for (const option of words.filter((word) => word.startsWith('--')))
      assert.match(help, new RegExp(`${option}\\b`), `${line}: ${option}`);
  }
});

test('the container file copies what is there, and its builder has the packages that a build needs', () => {
  const text = readFileSync(`${DEPLOY}/container/Containerfile`, 'utf8');
  const copied = [...text.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap((match) => (match[1] ?? '').split(' '));
  assert.ok(copied.length >= 6);
  for (const path of copied) assert.ok(existsSync(`${ROOT}/${path}`), path);
  const wanted = /^packages="(.*)"$/m.exec(readFileSync(`${ROOT}/scripts/setup.sh`, 'utf8'))?.[1]?.split(' ') ?? [];
  assert.ok(wanted.length > 5);
  for (const name of wanted)
    assert.match(text, new RegExp(`\\s${name.replaceAll('+', '\\+')}[\\s\\\\]`), `the builder image lacks ${name}`);
});

test('the scripts are programs, and a shell can read them', () => {
  for (const file of globSync(`${DEPLOY}/s6/**/{run,finish}`)) {
    assert.ok((statSync(file).mode & 0o111) === 0o111, `${file} is no program`);
    assert.equal(spawnSync('sh', ['-n', file]).status, 0, file);
  }
});

async function underS6(work: (tree: S6Tree, root: string) => Promise<void>): Promise<void> {
  const root = temporaryFolder();
  const tree = startS6(root);
  try {
    await work(tree, root);
  } finally {
    await tree.stop();
  }
}

test('s6: a witness says when it is ready, is started again after kill -9, and ends when it is told to', () =>
  underS6(async (tree, root) => {
    const key = succeed(['log', 'init', `${root}/log`, '--origin', 'log.example.org/deploy']).split('\n')[0] ?? '';
    succeed(['witness-keys', `${root}/witness`, '--name', 'w.example.org/w1']);
    const witness = await tree.add('witness', 'witness', {
      WITNESS: `${root}/witness`,
      LISTEN: '127.0.0.1:0',
      LOGS: key,
      LOCKSTEP,
      LOCKSTEP_HOME: `${root}/home`,
      RUN_AS: '',
    });
    await witness.ready(30);
    const first = await witness.pid();
    await witness.signal('SIGKILL');
    for (let waited = 0; [null, first].includes(await witness.pid()) && waited < 100; waited++) await sleep(100);
    await witness.ready(30);
    assert.notEqual(await witness.pid(), first);
    assert.match(witness.said(), /ended by signal 9/);
  }));

test('s6: what was told wrongly is not started again and again', () =>
  underS6(async (tree, root) => {
    mkdirSync(`${root}/empty`);
    const farm = await tree.add('farm', 'farm', {
      FARM: `${root}/empty`,
      ROLE: 'all',
      LOCKSTEP,
      LOCKSTEP_HOME: `${root}/home`,
    });
    for (let waited = 0; !farm.said().includes('ended with status') && waited < 100; waited++) await sleep(100);
    await sleep(1500);
    assert.equal(farm.said().match(/ended with status 2/g)?.length, 1, farm.said());
    assert.match(farm.said(), /There is no farm in/);
  }));
