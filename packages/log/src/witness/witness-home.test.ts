import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { initLog } from '../sequence/log-home.ts';
import { sampleLog } from './samples.ts';
import { openWitness } from './witness-home.ts';
import { addCheckpoint } from './witness.ts';

const folder = mkdtempSync(`${tmpdir()}/lockstep-witness-`);
after(() => rmSync(folder, { recursive: true, force: true }));
const now = (): number => 1_800_000_000;
const log = sampleLog(5);
const { root } = initLog(`${folder}/log`, 'log.example.org/farm', null);

test('openWitness refuses a folder of a log, and one directly in it', () => {
  for (const inside of [root, `${root}/witness`, `${root}/public`, `${root}/./w/../w`])
    assert.throws(() => openWitness(inside, 'w.example/1', [], now), { code: 'LOG_UNUSABLE' }, inside);
});

test('openWitness refuses a folder that is deeper in the folder of a log: it is restored with it all the same', () => {
  assert.throws(() => openWitness(`${root}/witnesses/one`, 'w.example/1', [], now), { code: 'LOG_UNUSABLE' });
});

test('openWitness refuses a link into the folder of a log', () => {
  mkdirSync(`${root}/elsewhere`);
  symlinkSync(`${root}/elsewhere`, `${folder}/link`);
  assert.throws(() => openWitness(`${folder}/link`, 'w.example/1', [], now), { code: 'LOG_UNUSABLE' });
});

test('openWitness keeps its name, its keys, the logs it follows and what it has cosigned', async () => {
  const one = openWitness(`${folder}/w`, 'w.example/1', [log.key], now);
  assert.equal(addCheckpoint(one, await log.request(0, 4)).status, 200);
  const again = openWitness(`${folder}/w`, null, [], now);
  assert.deepEqual([again.ed25519.key, again.mlDsa.key], [one.ed25519.key, one.mlDsa.key]);
  assert.deepEqual([...again.logs.keys()], [log.key.name]);
  assert.equal(addCheckpoint(again, await log.request(0, 5)).body, '4\n');
  assert.equal(addCheckpoint(openWitness(`${folder}/w`, 'w.example/1', [log.key], now), await log.request(4, 5)).status, 200);
  assert.throws(() => openWitness(`${folder}/w`, 'w.example/2', [], now), { code: 'USAGE' });
  assert.throws(() => openWitness(`${folder}/none`, null, [], now), { code: 'USAGE' });
  assert.throws(() => openWitness(`${folder}/none`, 'two words', [], now), { code: 'USAGE' });
  assert.throws(() => openWitness(`${folder}/w`, null, [one.ed25519.key], now), { code: 'KEY_INVALID' });
});

test('openWitness keeps its keys from others, and refuses keys that others can read or that are none', () => {
  const at = `${folder}/keys`;
  openWitness(at, 'w.example/1', [], now);
  for (const file of ['ed25519.pem', 'ml-dsa-44.seed']) {
    const path = `${at}/keys/${file}`;
    assert.equal(statSync(path).mode & 0o777, 0o600);
    chmodSync(path, 0o644);
    assert.throws(() => openWitness(at, null, [], now), { code: 'KEY_INVALID' }, file);
    chmodSync(path, 0o600);
  }
  openWitness(at, null, [], now);
  for (const [file, text] of [
    ['ml-dsa-44.seed', 'abc\n'],
    ['ml-dsa-44.seed', `${'0'.repeat(63)}\n`],
    ['ed25519.pem', 'no key'],
  ] as const) {
    writeFileSync(`${at}/keys/${file}`, text);
    assert.throws(() => openWitness(at, null, [], now), { code: 'KEY_INVALID' }, text);
  }
});
