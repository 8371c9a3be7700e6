import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { objectsContract } from './contract.ts';
import { folderObjects } from './folder-objects.ts';
import { openObjects } from './open-objects.ts';

const folder = mkdtempSync(`${tmpdir()}/lockstep-objects-`);
after(() => rmSync(folder, { recursive: true, force: true }));
let count = 0;

objectsContract('folder', {
  address: () => Promise.resolve(`folder:${folder}/${count++}`),
  open: openObjects,
  runs: 60,
  listed: 2500,
  swaps: 100,
  leftovers: (address) => {
    const root = address.slice('folder:'.length);
    return Promise.resolve(['incoming', 'locks'].flatMap((name) => readdirSync(`${root}/${name}`)));
  },
});

test('folderObjects leaves what living writers write, and does not show what it did not write', async () => {
  const root = `${folder}/foreign`;
  folderObjects(root);
  writeFileSync(`${root}/incoming/new.${process.pid}-abc123.part`, '');
  writeFileSync(`${root}/tree/.hidden`, '');
  writeFileSync(`${root}/tree/with space`, '');
  const objects = folderObjects(root);
  for await (const { key } of objects.list('')) assert.fail(key);
  assert.equal(readdirSync(`${root}/incoming`).length, 1);
});

test('folderObjects names the folder and what to do when the disk is unusable', {
  skip: process.getuid?.() !== 0 && 'needs root',
}, async () => {
  writeFileSync(`${folder}/file`, '');
  assert.throws(() => folderObjects(`${folder}/file/below`), {
    code: 'STORE_UNUSABLE',
    message: /folder .*\/file\/below/,
    hint: /file lies where/,
  });
});

test('openObjects reads addresses, and repeats none that may hold a secret', async () => {
  assert.equal((await openObjects(`${folder}/plain`)).name, `folder ${folder}/plain`);
  assert.equal((await openObjects(`folder:${folder}/x/../plain/`)).name, `folder ${folder}/plain`);
  const s3 = await openObjects('s3://builds/a/b?endpoint=http://127.0.0.1:9000/&region=eu');
  assert.equal(s3.name, 's3 bucket builds/a/b at http://127.0.0.1:9000');
  await s3.close();
  for (const where of [
    '',
    'relative/path',
    'folder:relative',
    'file:///a',
    'http://127.0.0.1/bucket',
    's3://',
    's3://x',
    's3://AKIASECRET:SECRET@builds/a',
    's3://builds:9000/a',
    's3://builds/a//b',
    's3://builds/../a b',
    's3://builds/a#SECRET',
    's3://builds?secret=SECRET',
    's3://builds?endpoint=ftp://127.0.0.1',
    's3://builds?endpoint=http://user:SECRET@127.0.0.1',
    's3://builds?endpoint=http://127.0.0.1?SECRET',
    's3://builds?region=a&region=b',
    's3://builds?pathStyle=maybe',
    's3://fa_rm!/a',
    'gs://builds?region=x',
  ])
    await assert.rejects(openObjects(where), (error: Error & { code?: string; hint?: string }) => {
      assert.equal(error.code, 'USAGE', where);
      assert.doesNotMatch(`${error.message} ${error.hint}`, /SECRET/);
      return true;
    });
});
