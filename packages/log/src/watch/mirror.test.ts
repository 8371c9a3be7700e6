import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { copyDisk, type Disk, document, LOG_KEY, labels, readFolder, signedDocument } from '../sequence/samples.ts';
import { folderSource, logSource, type LogSource } from '../source/log-source.ts';
import { readFromScratch } from '../source/samples.ts';
import { listen, stop } from '../witness/samples.ts';
import { mirrorLog } from './mirror.ts';
import { monitorLog } from './monitor.ts';
import { grownLog, sourceOf, writeFolder } from './samples.ts';

const folder = mkdtempSync(`${existsSync('/dev/shm') ? '/dev/shm' : tmpdir()}/lockstep-mirror-`);
after(() => rmSync(folder, { recursive: true, force: true }));

const GROUPS = [labels('a', 5), labels('b', 250), labels('c', 4)].map((group) => group.map((label) => signedDocument(label)));
const disk = await grownLog(GROUPS);

function atSize(of: Disk, index: number): Disk {
  const copy = copyDisk(of);
  copy.files.set('checkpoint', Buffer.from(of.published[index] ?? ''));
  return copy;
}

/** Everything that a mirror promises: the whole tree verifies, and every statement is there. */
function requireWhole(root: string, size: number): void {
  const reading = readFromScratch(readFolder(root), LOG_KEY);
  assert.equal(reading.size, size);
  for (const { digest, statement } of GROUPS.flat().slice(0, size))
    assert.deepEqual(readFileSync(`${root}/statement/${digest.slice(0, 2)}/${digest.slice(2)}`), Buffer.from(statement));
}

test('mirrorLog over HTTP copies a log, follows it, and can itself be mirrored and monitored', async () => {
  const served = `${folder}/served`;
  let reads = 0;
  const server = createServer((request, response) => {
    reads++;
    const bytes = readFolder(served)(request.url ?? '');
    response.writeHead(bytes === null ? 404 : 200).end(bytes ?? 'not found');
  });
  const url = await listen(server);
  try {
    writeFolder(served, atSize(disk, 0));
    assert.deepEqual(await mirrorLog(logSource(`${url}//`), LOG_KEY, `${folder}/first`), { from: 0, to: 5, opaque: [] });
    requireWhole(`${folder}/first`, 5);
    writeFolder(served, disk);
    assert.deepEqual(await mirrorLog(logSource(url), LOG_KEY, `${folder}/first`), { from: 5, to: 259, opaque: [] });
    requireWhole(`${folder}/first`, 259);
    reads = 0;
    assert.deepEqual(await mirrorLog(logSource(url), LOG_KEY, `${folder}/first`), { from: 259, to: 259, opaque: [] });
    assert.ok(reads < 5, `${reads} reads when there is nothing new`);
  } finally {
    await stop(server);
  }
  const again = await mirrorLog(logSource(`${folder}/first`), LOG_KEY, `${folder}/second`);
  assert.deepEqual(again, { from: 0, to: 259, opaque: [] });
  requireWhole(`${folder}/second`, 259);
  assert.equal((await monitorLog(folderSource(`${folder}/second`), LOG_KEY, [], null)).entries.length, 259);
});

test('mirrorLog that was interrupted at any read leaves what it had, and goes on from there', async () => {
  const small = await grownLog([labels('a', 3).map((label) => document(label)), [document('b')]]);
  for (let n = 0, over = false; !over; n++) {
    const root = `${folder}/interrupted-${n}`;
    await mirrorLog(sourceOf(atSize(small, 0)), LOG_KEY, root);
    let reads = 0;
    const whole = sourceOf(small);
    const interrupted: LogSource = {
      ...whole,
      read: (path, max) => (reads++ === n ? Promise.reject(new Error('gone')) : whole.read(path, max)),
    };
    try {
      await mirrorLog(interrupted, LOG_KEY, root);
      over = true;
    } catch (error) {
      assert.match(String(error), /gone/);
      assert.equal(readFromScratch(readFolder(root), LOG_KEY).size, 3, 'the checkpoint says only what is there');
    }
    await mirrorLog(whole, LOG_KEY, root);
    assert.equal(readFromScratch(readFolder(root), LOG_KEY).size, 4);
    assert.ok(!readdirSync(root, { recursive: true, encoding: 'utf8' }).some((name) => name.endsWith('.part')));
  }
});

test('mirrorLog keeps its checkpoint when the log was rewritten, shrank, or shows another view', async () => {
  const root = `${folder}/faithful`;
  await mirrorLog(sourceOf(disk), LOG_KEY, root);
  const before = readFileSync(`${root}/checkpoint`);
  const rewritten = await grownLog([[document('x'), ...GROUPS.flat().slice(1), document('y')]]);
  const split = await grownLog([[document('x'), ...GROUPS.flat().slice(1)]]);
  for (const source of [rewritten, split, atSize(disk, 0)].map((one) => sourceOf(one)))
    await assert.rejects(mirrorLog(source, LOG_KEY, root), { code: 'LOG_INCONSISTENT' });
  assert.deepEqual(readFileSync(`${root}/checkpoint`), before);
  requireWhole(root, 259);
});

test('mirrorLog takes no file of a tree that is missing or wrong, and is whole once the log is', async () => {
  for (const path of ['tile/entries/000', 'tile/entries/001.p/3', 'tile/0/000', 'tile/0/001.p/3', 'tile/1/000.p/1'])
    for (const change of [(): null => null, (bytes: Uint8Array): Uint8Array => bytes.map((byte) => byte ^ 1)]) {
      const root = `${folder}/wrong`;
      rmSync(root, { recursive: true, force: true });
      const source = sourceOf(disk, (name, bytes) => (name === path || name.startsWith('statement/') ? change(bytes) : bytes));
      await assert.rejects(mirrorLog(source, LOG_KEY, root), { code: 'LOG_CORRUPT' }, path);
      assert.ok(!existsSync(`${root}/checkpoint`));
      const whole = sourceOf(disk, (name, bytes) => (name.startsWith('statement/') ? null : bytes));
      assert.equal((await mirrorLog(whole, LOG_KEY, root)).opaque.length, 259);
      assert.equal(readFromScratch(readFolder(root), LOG_KEY).size, 259);
    }
});

test('mirrorLog says which statements are opaque, takes no wrong one, and gets them later', async () => {
  const root = `${folder}/opaque`;
  const [missing, wrong] = GROUPS.flat().map(({ digest }) => `statement/${digest.slice(0, 2)}/${digest.slice(2)}`);
  const source = sourceOf(disk, (path, bytes) => (path === missing ? null : path === wrong ? Buffer.from('wrong') : bytes));
  const { opaque } = await mirrorLog(source, LOG_KEY, root);
  assert.deepEqual([...opaque].sort(), [missing, wrong].sort());
  assert.ok(!existsSync(`${root}/${wrong}`));
  assert.deepEqual((await mirrorLog(sourceOf(disk), LOG_KEY, root)).opaque, []);
  requireWhole(root, 259);
});

test('mirrorLog repairs nothing silently: a damaged file of the mirror itself is found', async () => {
  const root = `${folder}/damaged`;
  await mirrorLog(sourceOf(disk), LOG_KEY, root);
  writeFileSync(
    `${root}/tile/entries/000`,
    readFileSync(`${root}/tile/entries/000`).map((byte, at) => (at === 9 ? byte ^ 1 : byte)),
  );
  await assert.rejects(mirrorLog(sourceOf(disk), LOG_KEY, root), { code: 'LOG_CORRUPT' });
  rmSync(`${root}/tile/entries/000`);
  await mirrorLog(sourceOf(disk), LOG_KEY, root);
  requireWhole(root, 259);
});

test('mirrorLog of a log that claims 2^45 entries ends at once, in bounded memory', () => {
  const url = (file: string): string => JSON.stringify(new URL(file, import.meta.url).href);
  const program = `
    import { mirrorLog } from ${url('./mirror.ts')};
    import { sampleLog } from ${url('../witness/samples.ts')};
    const log = sampleLog(1);
    const checkpoint = Buffer.from(log.note({ size: 2 ** 45, root: new Uint8Array(32) }));
    const source = { name: 'evil', read: async (path, max) => (path === 'checkpoint' ? checkpoint : log.source.read(path, max)) };
    await mirrorLog(source, log.key, ${JSON.stringify(`${folder}/evil`)}).then(() => 'copied', (error) => console.log(error.code));
  `;
  const run = spawnSync(process.execPath, ['--max-old-space-size=200', '--input-type=module', '-e', program], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  assert.equal(run.stdout.trim(), 'LOG_CORRUPT', `${run.signal}: ${run.stderr.split('\n').find((line) => /FATAL|Error/.test(line)) ?? ''}`);
});
