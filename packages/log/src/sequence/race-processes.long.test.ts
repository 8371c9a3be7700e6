import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { folderObjects } from '@lockstep/store/objects/folder-objects';
import { readFromScratch, readNote, type SecondReading } from '../source/samples.ts';
import { initLog, initSharedLog, type LogHome, openLogHome, openSharedLogHome } from './log-home.ts';
import { diskOf } from './object-samples.ts';
import { document, emptyDisk, readDisk, readFolder } from './samples.ts';
import { openSequencer } from './sequencer.ts';

const folder = mkdtempSync(`${tmpdir()}/lockstep-race-`);
after(() => rmSync(folder, { recursive: true, force: true }));

const url = (file: string): string => JSON.stringify(new URL(file, import.meta.url).href);

/** Appends documents one after the other, or a few at once, and says which index each got. */
const CHILD = `
import { folderObjects } from ${JSON.stringify(import.meta.resolve('@lockstep/store/objects/folder-objects'))};
import { openLogHome, openSharedLogHome } from ${url('./log-home.ts')};
import { openSequencer } from ${url('./sequencer.ts')};
import { document } from ${url('./samples.ts')};
const [root, objects, prefix, times] = process.argv.slice(1);
const home = objects === '' ? openLogHome(root) : openSharedLogHome(root, folderObjects(objects), 'log');
const sequencer = await openSequencer(home, null);
for (let at = 0; at < Number(times); at += 2)
  await Promise.all([at, at + 1].map(async (one) => console.log(prefix + one, await sequencer.append(document(prefix + one)))));
if (prefix === 'b') await sequencer.close();
`;

async function run(root: string, objects: string, prefix: string, times: number): Promise<Map<string, number>> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', CHILD, root, objects, prefix, String(times)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output: string[] = [];
  const errors: string[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk.toString()));
  const status = await new Promise((resolve) => child.on('close', resolve));
  assert.equal(status, 0, errors.join(''));
  const lines = output.join('').trim().split('\n');
  return new Map(lines.map((line) => [line.split(' ')[0] ?? '', Number(line.split(' ')[1])]));
}

/** Reads the checkpoint all the time: it only ever grows. */
async function watch(home: LogHome, until: Promise<unknown>): Promise<number> {
  let over = false;
  void until.finally(() => {
    over = true;
  });
  let last = 0;
  for (let looks = 0; ; looks++) {
    const note = await home.files.read('checkpoint');
    const size = note === null ? 0 : readNote(Buffer.from(note).toString(), home.key).size;
    assert.ok(size >= last, `${size} after ${last}`);
    last = size;
    if (over) return looks;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Both append at once, and each of their documents has the place that it was told. @returns which */
async function raceOfTwo(home: LogHome, objects: string, times: number): Promise<ReadonlyMap<string, number>> {
  const children = Promise.all(['a', 'b'].map((prefix) => run(home.root, objects, prefix, times)));
  const looks = await watch(home, children);
  const acknowledged = new Map((await children).flatMap((one) => [...one]));
  assert.ok(looks > 10);
  assert.equal(acknowledged.size, 2 * times);
  return acknowledged;
}

function requireEach({ entries }: SecondReading, acknowledged: ReadonlyMap<string, number>): void {
  assert.equal(entries.length, acknowledged.size);
  for (const [label, index] of acknowledged) assert.equal(String(entries[index]), `entry ${label}`);
}

test('two processes that append to one log at once never fork and lose nothing', async () => {
  const home = initLog(`${folder}/log`, 'log.example.org/farm', null);
  const acknowledged = await raceOfTwo(home, '', 100);
  requireEach(readFromScratch(readFolder(`${home.root}/public`), home.key), acknowledged);
  assert.deepEqual(readdirSync(`${home.root}/locks`), [], 'no lock and no temporary file is left');
  const sequencer = await openSequencer(openLogHome(home.root), null);
  assert.equal(await sequencer.append(document('a7')), acknowledged.get('a7'));
  await sequencer.close();
  assert.ok(readdirSync(`${home.root}/staging`).length >= 1);
});

test('two replicas that append to one log on objects at once never fork and lose nothing', async () => {
  const root = `${folder}/replica`;
  initSharedLog(root, 'log.example.org/shared', null);
  const objects = folderObjects(`${folder}/objects`);
  const home = openSharedLogHome(root, objects, 'log');
  const acknowledged = await raceOfTwo(home, `${folder}/objects`, 40);
  const disk = await diskOf(objects, emptyDisk());
  requireEach(readFromScratch(readDisk(disk), home.key), acknowledged);
  assert.deepEqual(readdirSync(root).sort(), ['keys', 'log.json'], 'nothing of it is in the folder of the key');
  const sequencer = await openSequencer(home, null);
  assert.equal(await sequencer.append(document('a7')), acknowledged.get('a7'));
  await sequencer.close();
});
