import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { digestFile, sha256File } from './digests.ts';
import { type Blobs, folderBlobs } from './folder-blobs.ts';
import { openStore } from './store.ts';

const folder = mkdtempSync(`${tmpdir()}/lockstep-blobs-`);
after(() => rmSync(folder, { recursive: true, force: true }));
const module_ = JSON.stringify(new URL('./folder-blobs.ts', import.meta.url).href);
const hashOf = (bytes: string | Uint8Array): Sha256 => createHash('sha256').update(bytes).digest('hex') as Sha256;

/** A blob with one bit changed, as a disk would. */
function flipped(blobs: Blobs, content: string, at: number): Sha256 {
  const digest = blobs.put(content);
  const bytes = readFileSync(blobs.path(digest));
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  chmodSync(blobs.path(digest), 0o644);
  writeFileSync(blobs.path(digest), bytes);
  return digest;
}

test('put, read, size, list, copyOut and materialise', () => {
  const blobs = folderBlobs(`${folder}/plain`);
  const digest = blobs.put('content');
  assert.equal(digest, hashOf('content'));
  assert.equal(blobs.put(Buffer.from('content')), digest);
  assert.equal(blobs.read(digest).toString(), 'content');
  assert.equal(blobs.size(digest), 7);
  assert.deepEqual(blobs.list(), [digest]);
  assert.equal(statSync(blobs.path(digest)).mode & 0o222, 0, 'a blob is read-only');
  blobs.copyOut(digest, `${folder}/copy`);
  assert.equal(readFileSync(`${folder}/copy`, 'utf8'), 'content');
  assert.notEqual(statSync(`${folder}/copy`).ino, statSync(blobs.path(digest)).ino);
  blobs.materialise(digest, `${folder}/shown`);
  assert.equal(readFileSync(`${folder}/shown`, 'utf8'), 'content');
  assert.equal(blobs.put(''), hashOf(''));
});

test('what is not there is said to be gone', () => {
  const blobs = folderBlobs(`${folder}/gone`);
  const digest = hashOf('nothing');
  assert.equal(blobs.has(digest), false);
  assert.equal(blobs.size(digest), null);
  for (const act of [
    () => blobs.read(digest),
    () => blobs.copyOut(digest, `${folder}/gone-copy`),
    () => blobs.materialise(digest, `${folder}/gone-copy`),
  ])
    assert.throws(act, { code: 'INPUT_GONE' });
  assert.equal(existsSync(`${folder}/gone-copy`), false);
});

test('read and copyOut detect a flipped bit anywhere, and leave nothing at the target', () => {
  const blobs = folderBlobs(`${folder}/flipped`);
  for (const at of [0, 50, 99]) {
    const digest = flipped(blobs, String(at).padEnd(100, 'x'), at);
    assert.throws(() => blobs.read(digest), { code: 'STORE_CORRUPT' });
    const target = `${folder}/flipped-copy-${at}`;
    assert.throws(() => blobs.copyOut(digest, target), { code: 'STORE_CORRUPT' });
    writeFileSync(target, 'old');
    assert.throws(() => blobs.copyOut(digest, target), { code: 'STORE_CORRUPT' });
    assert.equal(readFileSync(target, 'utf8'), 'old');
  }
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.endsWith('.part')),
    [],
  );
});

test('adopt takes the file over, once', () => {
  const blobs = folderBlobs(`${folder}/adopt`);
  for (const _ of [1, 2]) {
    writeFileSync(`${folder}/adopted`, 'adopted');
    assert.equal(blobs.adopt(`${folder}/adopted`), hashOf('adopted'));
    assert.equal(existsSync(`${folder}/adopted`), false);
  }
  assert.equal(blobs.read(hashOf('adopted')).toString(), 'adopted');
  assert.equal(statSync(blobs.path(hashOf('adopted'))).mode & 0o777, 0o444);
});

function run(script: string): { child: ReturnType<typeof spawn>; ended: Promise<number | null> } {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  return { child, ended: new Promise((resolve) => child.on('close', resolve)) };
}

test('writers that race for the same bytes all succeed, and one blob is there', async () => {
  const root = `${folder}/race`;
  const script = `
    import { folderBlobs } from ${module_};
    import { writeFileSync } from 'node:fs';
    const blobs = folderBlobs(${JSON.stringify(root)});
    for (let n = 0; n < 30; n++) {
      blobs.put(String(n).repeat(1000));
      const file = ${JSON.stringify(folder)} + '/race-' + process.pid;
      writeFileSync(file, 'adopt' + n);
      blobs.adopt(file);
    }`;
  const writers = [run(script), run(script)];
  assert.deepEqual(await Promise.all(writers.map(({ ended }) => ended)), [0, 0]);
  const blobs = folderBlobs(root);
  assert.equal(blobs.list().length, 60);
  for (const digest of blobs.list()) assert.equal(hashOf(blobs.read(digest)), digest);
});

test('a writer that is killed leaves no blob that is not whole', async () => {
  const root = `${folder}/killed`;
  const script = `
    import { folderBlobs } from ${module_};
    const blobs = folderBlobs(${JSON.stringify(root)});
    process.stdout.write('ready');
    for (let n = 0; ; n++) blobs.put(Buffer.alloc(4 << 20, process.pid + '-' + n));`;
  const blobs = folderBlobs(root);
  let seen = 0;
  for (let round = 0; round < 6; round++) {
    const { child, ended } = run(script);
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    await sleep(15 + round * 17);
    child.kill('SIGKILL');
    await ended;
    for (const digest of blobs.list()) assert.equal(hashOf(readFileSync(blobs.path(digest))), digest);
    seen += blobs.list().length;
    rmSync(root, { recursive: true });
    folderBlobs(root);
  }
  assert.ok(seen > 0, 'nothing was ever written: the test shows nothing');
});

test('digestFile and sha256File agree with one another and follow no link', () => {
  writeFileSync(`${folder}/file`, 'x'.repeat((1 << 20) + 1));
  const all = digestFile(`${folder}/file`);
  assert.equal(all.digest.sha256, sha256File(`${folder}/file`).digest);
  assert.equal(all.size, (1 << 20) + 1);
  assert.equal(
    all.digest.sha512,
    createHash('sha512')
      .update(readFileSync(`${folder}/file`))
      .digest('hex'),
  );
});

test('openStore sweeps the scratches of the dead, and leaves those of the living', async () => {
  const root = `${folder}/store`;
  const store = openStore(root);
  const mine = store.newScratch();
  const { child, ended } = run('');
  await ended;
  writeFileSync(`${root}/scratch/${child.pid}-abc`, '');
  writeFileSync(`${root}/environments/x.${child.pid}-abc.part`, '');
  writeFileSync(`${root}/environments/x`, '');
  openStore(root);
  assert.equal(existsSync(mine), true);
  assert.deepEqual(readdirSync(`${root}/scratch`), [mine.split('/').at(-1)]);
  assert.deepEqual(readdirSync(`${root}/environments`), ['x']);
  assert.equal(statSync(`${root}/keys`).mode & 0o077, 0);
  writeFileSync(`${folder}/not-a-folder`, '');
  assert.throws(() => openStore(`${folder}/not-a-folder/store`), { code: 'STORE_UNUSABLE' });
});
