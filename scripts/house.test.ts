/** House rules as tests whose message names the fix. Each rule is also shown to bite, by a planted violation. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import { importsOf, sourceFiles, violations } from './imports.ts';

const ROOT = `${import.meta.dirname}/..`;

test('the import table holds', () => {
  assert.deepEqual(violations(sourceFiles()), []);
});

test('the import table bites', () => {
  const plant = (file: string, text: string): string => violations(new Map([[file, text]])).join('\n');
  assert.match(plant('packages/protocol/src/x.ts', "import { readFileSync } from 'node:fs';"), /runs in a browser/);
  assert.match(plant('packages/builder/src/x.ts', "import { run } from '@lockstep/silo/run';"), /spawned, never imported/);
  assert.match(plant('packages/silo/src/x.ts', "export {\n  a,\n} from '@lockstep/protocol/json/parse';"), /no other package/);
  assert.match(plant('packages/store/src/x.ts', "const x = await import('left-pad');"), /may not import left-pad/);
  assert.match(plant('packages/cli/src/x.ts', "import { run } from '../../../silo/src/run/run.ts';"), /by path/);
  assert.match(plant('packages/cli/src/utils.ts', ''), /drawer/);
  assert.match(plant('packages/new/src/x.ts', ''), /not in the import table/);
  assert.deepEqual(importsOf("import a from 'a';\nimport type { B } from \"b\";\nimport 'c';"), ['a', 'b', 'c']);
});

test('no committed file names a package registry, a path of a machine, or carries a download address', () => {
  const hosts = [
    'registry.npm' + 'js',
    'deb.debi' + 'an',
    'snapshot.debi' + 'an',
    'security.debi' + 'an',
    'ftp.debi' + 'an',
    'archive.ubun' + 'tu',
    'static.crat' + 'es',
  ];
  const found = spawnSync('git', ['grep', '-nIF', ...hosts.flatMap((host) => ['-e', host])], { cwd: ROOT, encoding: 'utf8' }).stdout;
  assert.equal(found, '', 'Name packages by package URL; hosts come from the configuration of the machine.');
  const lock = readFileSync(`${ROOT}/package-lock.json`, 'utf8');
  assert.doesNotMatch(lock, /"resolved": "http/, 'Keep omit-lockfile-registry-resolved=true in .npmrc and write the lock again.');
});

test('every source file is small enough to be one concept', () => {
  for (const [file, text] of sourceFiles()) assert.ok(text.split('\n').length <= 420, `${file} is long: what is the second concept in it?`);
});

test('the version is the same everywhere', () => {
  const versions = ['protocol', 'silo', 'store', 'builder', 'cli'].map(
    (name) => (JSON.parse(readFileSync(`${ROOT}/packages/${name}/package.json`, 'utf8')) as { version: string }).version,
  );
  const stated = /VERSION = '([^']+)'/.exec(readFileSync(`${ROOT}/packages/cli/src/version.ts`, 'utf8'))?.[1];
  assert.deepEqual([...new Set([...versions, stated])], [stated]);
});

test('protocol is type-checked without Node: a planted use of Buffer is refused', () => {
  const folder = mkdtempSync(`${ROOT}/packages/protocol/src/planted-`);
  try {
    writeFileSync(`${folder}/planted.ts`, 'export const planted = Buffer.from("x");\n');
    const run = spawnSync(`${ROOT}/node_modules/.bin/tsc`, ['-p', `${ROOT}/packages/protocol/tsconfig.json`], { encoding: 'utf8' });
    assert.notEqual(run.status, 0);
    assert.match(run.stdout, /planted\.ts.*Buffer/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the linter’s type-aware rules bite: a planted floating promise is refused', () => {
  const folder = mkdtempSync(`${ROOT}/scripts/planted-`);
  try {
    writeFileSync(`${folder}/planted.ts`, 'async function work(): Promise<void> {}\nexport function start(): void {\n  work();\n}\n');
    const run = spawnSync(`${ROOT}/node_modules/.bin/oxlint`, ['--type-aware', '--deny-warnings', `scripts/${basename(folder)}`], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    assert.notEqual(run.status, 0);
    assert.match(run.stdout, /floating/i);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
