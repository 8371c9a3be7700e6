import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';

const FOLDERS: string[] = [];
after(() => {
  for (const folder of FOLDERS) rmSync(folder, { recursive: true });
});

const PATTERN = readFileSync('/proc/sys/kernel/core_pattern', 'utf8').trim();
/** Whether a core would lie in the folder of the process: else there is nothing for this test to see. */
const WRITES_HERE = !PATTERN.startsWith('|') && !PATTERN.includes('/');
const MARK = 'a-secret-that-is-only-in-memory';
/** Half of the mark in each place, so that it is whole nowhere but on the heap. */
const HOLD = `const held = Buffer.from(['a-secret-that-is', 'only-in-memory'].join('-'));`;

/** @returns what lies in the working folder of a process that held a secret and was aborted, and what it printed */
function aborted(code: string): { readonly folder: string; readonly files: readonly string[]; readonly stdout: string } {
  const folder = mkdtempSync(`${tmpdir()}/lockstep-core-`);
  FOLDERS.push(folder);
  const script = `import { noCoreDumps } from '${import.meta.dirname}/core-dumps.ts';
    import { readFileSync, writeFileSync } from 'node:fs';
    ${code}
    ${HOLD}
    console.log(held.length);
    process.kill(process.pid, 'SIGABRT');`;
  const run = spawnSync('sh', ['-c', 'ulimit -S -c unlimited; exec "$@"', 'sh', process.execPath, '--input-type=module', '-e', script], {
    cwd: folder,
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.equal(run.signal, 'SIGABRT', `${run.stdout}${run.stderr}`);
  return { folder, files: readdirSync(folder), stdout: run.stdout };
}

test('control: a process that is aborted leaves a core, and the secret is in it', {
  skip: !WRITES_HERE && `core_pattern is ${PATTERN}`,
}, () => {
  const { folder, files } = aborted('');
  assert.equal(files.length, 1);
  assert.ok(readFileSync(`${folder}/${files[0]}`).includes(MARK));
});

test('noCoreDumps: a process that is aborted leaves none', () => {
  const { files, stdout } = aborted(`console.log(JSON.stringify(noCoreDumps())); console.log(readFileSync('/proc/self/limits', 'utf8'));`);
  assert.deepEqual(files, []);
  assert.match(stdout, /"limit":0/);
  assert.match(stdout, /Max core file size +0 +0 /);
});

test('noCoreDumps: its second lock alone keeps the secret out of a core', { skip: !WRITES_HERE && `core_pattern is ${PATTERN}` }, () => {
  const { folder, files } = aborted(`writeFileSync('/proc/self/coredump_filter', '0');`);
  for (const file of files) assert.ok(!readFileSync(`${folder}/${file}`).includes(MARK));
});

test('noCoreDumps without prlimit: HOST_CANNOT; under ulimit -c 0 it needs none', () => {
  const script = `import { noCoreDumps } from '${import.meta.dirname}/core-dumps.ts';
    try { noCoreDumps(); console.log('none'); } catch (error) { console.log(error.code, error.hint); }`;
  const run = (limit: string): string =>
    spawnSync('/bin/sh', ['-c', `ulimit -c ${limit}; exec "$@"`, 'sh', process.execPath, '--input-type=module', '-e', script], {
      env: { PATH: '/nonexistent' },
      encoding: 'utf8',
      timeout: 60_000,
    }).stdout;
  assert.match(
    spawnSync('/bin/sh', ['-c', 'command -v prlimit'], { encoding: 'utf8' }).stdout,
    /prlimit/,
    'prlimit is missing: util-linux',
  );
  assert.match(run('0'), /^none/);
  assert.match(run('8'), /^HOST_CANNOT.*util-linux/);
});
