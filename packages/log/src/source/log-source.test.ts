import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import { LOG_KEY } from '../sequence/samples.ts';
import { grownLog, oneByOne, writeFolder } from '../watch/samples.ts';
import { viewLog } from '../watch/log-view.ts';
import { mirrorLog } from '../watch/mirror.ts';
import { monitorLog } from '../watch/monitor.ts';
import { listen, stop } from '../witness/samples.ts';
import { folderSource, logSource, MAX_BUNDLE_BYTES, MAX_CHECKPOINT_BYTES, MAX_TILE_BYTES } from './log-source.ts';

const folder = mkdtempSync(`${tmpdir()}/lockstep-source-`);
const disk = await grownLog(oneByOne(3));
let huge: { path: string; bytes: number } | null = null;
/** Paths that are answered in another way than with the file. */
let odd: number | 'endless' | 'cut off' | null = null;

const server = createServer((request, response) => {
  const path = (request.url ?? '').slice(1);
  const bytes = disk.files.get(path);
  if (typeof odd === 'number') return void response.writeHead(odd, { location: '/checkpoint' }).end('odd');
  if (odd === 'cut off') {
    response.writeHead(200, { 'content-length': 1000 }).write('some');
    return void setTimeout(() => response.destroy(), 20);
  }
  if (odd === 'endless' || huge?.path === path) {
    // Without a length: only who counts can stop in time.
    response.writeHead(200);
    let left = huge?.bytes ?? Number.POSITIVE_INFINITY;
    const more = (): void => {
      while (left > 0 && !response.destroyed) {
        const part = Buffer.alloc(Math.min(left, 1 << 16), 'x');
        left -= part.length;
        if (!response.write(part)) return void response.once('drain', more);
      }
      response.end();
    };
    return more();
  }
  response.writeHead(bytes === undefined ? 404 : 200).end(bytes);
});
let url = '';
before(async () => {
  url = await listen(server);
});
after(async () => {
  await stop(server);
  rmSync(folder, { recursive: true, force: true });
});

const FILES = [
  ['checkpoint', MAX_CHECKPOINT_BYTES],
  ['tile/0/000.p/3', MAX_TILE_BYTES],
  ['tile/entries/000.p/3', MAX_BUNDLE_BYTES],
] as const;

test('a file that is larger than any of a log is FETCH_TOO_LARGE, from a folder', async () => {
  for (const [at, [path, max]] of FILES.entries()) {
    const root = `${folder}/huge-${at}`;
    writeFolder(root, disk);
    truncateSync(`${root}/${path}`, max + 1);
    const source = logSource(root);
    await assert.rejects(monitorLog(source, LOG_KEY, [], null), { code: 'FETCH_TOO_LARGE' }, path);
    await assert.rejects(mirrorLog(source, LOG_KEY, `${folder}/mirror-${at}`), { code: 'FETCH_TOO_LARGE' }, path);
  }
});

test('a file that is larger than any of a log is FETCH_TOO_LARGE, over HTTP, also when it never ends', async () => {
  for (const [path, max] of FILES) {
    huge = { path, bytes: max + 1 };
    await assert.rejects(monitorLog(logSource(url), LOG_KEY, [], null), { code: 'FETCH_TOO_LARGE' }, path);
  }
  huge = null;
  odd = 'endless';
  await assert.rejects(viewLog(logSource(url), LOG_KEY), { code: 'FETCH_TOO_LARGE' });
  odd = null;
  assert.equal((await viewLog(logSource(url), LOG_KEY)).checkpoint.size, 3);
});

test('logSource over HTTP tells what is not there from what cannot be had', async () => {
  for (const [status, code] of [
    [404, 'FILE_NOT_FOUND'],
    [410, 'FILE_NOT_FOUND'],
    [500, 'FETCH_FAILED'],
    [403, 'FETCH_FAILED'],
    [302, 'FETCH_FAILED'],
    ['cut off', 'FETCH_FAILED'],
  ] as const) {
    odd = status;
    await assert.rejects(viewLog(logSource(url), LOG_KEY), { code }, String(status));
  }
  odd = null;
  await assert.rejects(viewLog(logSource('http://127.0.0.1:1'), LOG_KEY), { code: 'FETCH_FAILED' });
});

test('logSource of a folder reads nothing where there is a folder in place of a file, or the other way round', async () => {
  const root = `${folder}/odd`;
  mkdirSync(`${root}/checkpoint`, { recursive: true });
  assert.equal(await folderSource(root).read('checkpoint', 1_000_000), null);
  writeFileSync(`${root}/tile`, 'a file');
  assert.equal(await folderSource(root).read('tile/0/000', 100), null);
  assert.throws(() => logSource(`${folder}/none`), { code: 'FILE_NOT_FOUND' });
  assert.throws(() => logSource(`${root}/tile`), { code: 'FILE_NOT_FOUND' });
  await assert.rejects(viewLog(logSource(root), LOG_KEY), { code: 'FILE_NOT_FOUND' });
});

test('logSource takes the folder of a log’s operator for its public files', async () => {
  writeFolder(`${folder}/operator/public`, disk);
  assert.equal((await viewLog(logSource(`${folder}/operator`), LOG_KEY)).checkpoint.size, 3);
});
