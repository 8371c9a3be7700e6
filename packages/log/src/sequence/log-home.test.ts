import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { folderObjects } from '@lockstep/store/objects/folder-objects';
import { readFromScratch } from '../source/samples.ts';
import { initLog, initSharedLog, openLogHome, openSharedLogHome, readLogKey } from './log-home.ts';
import { diskOf } from './object-samples.ts';
import { document, emptyDisk, readDisk } from './samples.ts';
import { openSequencer } from './sequencer.ts';

const folder = mkdtempSync(`${tmpdir()}/lockstep-log-home-`);
after(() => rmSync(folder, { recursive: true, force: true }));
const ORIGIN = 'log.example.org/shared';

test('openSharedLogHome: replicas with copies of one folder go on with one log, and write nothing into the folder', async () => {
  const root = `${folder}/made`;
  const key = initSharedLog(root, ORIGIN, null);
  assert.deepEqual(readLogKey(root), key);
  cpSync(root, `${folder}/copied`, { recursive: true });
  const objects = folderObjects(`${folder}/objects`);
  for (const [at, where] of [root, `${folder}/copied`, root].entries()) {
    const sequencer = await openSequencer(openSharedLogHome(where, objects, 'log'), null);
    assert.equal(await sequencer.append(document(at)), at);
    assert.equal(await sequencer.append(document(0)), 0, 'a repeated document has its place');
    await sequencer.close();
    assert.deepEqual(readdirSync(where).sort(), ['keys', 'log.json']);
  }
  const disk = await diskOf(objects, emptyDisk());
  assert.deepEqual(readFromScratch(readDisk(disk), key).entries.map(String), ['entry 0', 'entry 1', 'entry 2']);
  const staged: string[] = [];
  for await (const { key: one } of objects.list('log/staging/')) staged.push(one);
  assert.equal(staged.length, 1, 'what is durable under its public name is not kept twice');
});

test('openSharedLogHome makes no key: a replica without one would start another log', () => {
  const root = `${folder}/keyless`;
  initSharedLog(root, ORIGIN, null);
  rmSync(`${root}/keys`, { recursive: true });
  assert.throws(() => openSharedLogHome(root, folderObjects(`${folder}/none`), 'log'), { code: 'LOG_UNUSABLE', message: /no key/ });
  assert.deepEqual(readdirSync(root), ['log.json']);
});

test('one key signs in one place: neither a shared log is opened in its folder, nor that of a folder on objects', () => {
  initSharedLog(`${folder}/shared`, ORIGIN, null);
  assert.throws(() => openLogHome(`${folder}/shared`), { code: 'LOG_UNUSABLE' });
  assert.deepEqual(readdirSync(`${folder}/shared`).sort(), ['keys', 'log.json']);
  initLog(`${folder}/own`, ORIGIN, null);
  assert.throws(() => openSharedLogHome(`${folder}/own`, folderObjects(`${folder}/none`), 'log'), { code: 'LOG_UNUSABLE' });
  for (const name of ['shared', 'own']) assert.throws(() => initSharedLog(`${folder}/${name}`, ORIGIN, null), { code: 'LOG_UNUSABLE' });
});

test('openSequencer of a replica whose key is of another log signs nothing: LOG_CORRUPT', async () => {
  const objects = folderObjects(`${folder}/taken`);
  for (const name of ['first', 'second']) initSharedLog(`${folder}/${name}`, ORIGIN, null);
  await (await openSequencer(openSharedLogHome(`${folder}/first`, objects, 'log'), null)).append(document('a'));
  await assert.rejects(openSequencer(openSharedLogHome(`${folder}/second`, objects, 'log'), null), { code: 'LOG_CORRUPT' });
});
