import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { folderCells } from './cells.ts';

const folder = mkdtempSync(`${tmpdir()}/lockstep-cells-`);
after(() => rmSync(folder, { recursive: true, force: true }));

/** A process id that is no longer anybody's. */
const deadPid = (): number => spawnSync('true').pid;

/** Each child counts one cell up by compare-and-swap. */
const CHILD = `
import { folderCells } from ${JSON.stringify(new URL('./cells.ts', import.meta.url).href)};
const [root, times] = process.argv.slice(1);
const cells = folderCells(root);
for (let done = 0; done < Number(times); ) {
  const old = cells.get('counter');
  if (cells.swap('counter', old, String(Number(old ?? '0') + 1))) done++;
}
`;

async function count(root: string, children: number, times: number): Promise<void> {
  const statuses = await Promise.all(
    Array.from(
      { length: children },
      () =>
        new Promise<string>((resolve) => {
          const child = spawn(process.execPath, ['--input-type=module', '-e', CHILD, root, String(times)], {
            stdio: ['ignore', 'ignore', 'pipe'],
          });
          let errors = '';
          child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
          child.on('close', (status) => resolve(status === 0 ? '' : `status ${status}: ${errors}`));
        }),
    ),
  );
  assert.deepEqual(
    statuses.filter((status) => status !== ''),
    [],
  );
}

test('swap succeeds only on what was seen last', () => {
  const cells = folderCells(`${folder}/one`);
  assert.equal(cells.get('a'), null);
  assert.equal(cells.swap('a', 'x', 'y'), false);
  assert.equal(cells.swap('a', null, ''), true);
  assert.equal(cells.swap('a', null, 'z'), false, 'an empty cell was written');
  assert.equal(cells.swap('a', '', 'ü\n'), true);
  assert.equal(cells.get('a'), 'ü\n');
  assert.deepEqual(cells.names(), ['a']);
  cells.remove('a');
  assert.equal(cells.get('a'), null);
  cells.remove('a');
  assert.deepEqual(readdirSync(`${folder}/one`), [], 'locks and temporary files are gone');
});

test('cells refuse names that are paths', () => {
  const cells = folderCells(`${folder}/names`);
  for (const name of ['', '.', '..', '../a', 'a/b', 'A', '-a', '.a', 'a b', 'a\n', 'a'.repeat(201)]) {
    assert.throws(() => cells.get(name), TypeError, name);
    assert.throws(() => cells.swap(name, null, 'x'), TypeError, name);
  }
});

test('swap from eight processes at once loses no update', async () => {
  const root = `${folder}/eight`;
  await count(root, 8, 15);
  assert.equal(folderCells(root).get('counter'), '120');
  assert.deepEqual(readdirSync(root), ['counter.cell']);
});

test('swap from eight processes loses no update either when each finds the lock of a dead one', async () => {
  for (let round = 0; round < 4; round++) {
    const root = `${folder}/dead-${round}`;
    folderCells(root);
    writeFileSync(`${root}/counter.cell.lock`, `${deadPid()}-abc`);
    if (round % 2 === 1) writeFileSync(`${root}/counter.cell.lock.break`, `${deadPid()}-def`);
    await count(root, 8, 2);
    assert.equal(folderCells(root).get('counter'), '16');
    assert.deepEqual(readdirSync(root), ['counter.cell']);
  }
});

test('swap waits for a lock of a living process, and then says who holds it', () => {
  const cells = folderCells(`${folder}/held`);
  const lock = `${folder}/held/a.cell.lock`;
  writeFileSync(lock, `${process.pid}-abc`);
  assert.throws(() => cells.swap('a', null, 'x'), { code: 'STORE_BUSY' });
  assert.ok(existsSync(lock), 'it is not ours to remove');
  assert.equal(cells.get('a'), null);
});
