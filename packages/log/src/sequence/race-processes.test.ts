import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { readFromScratch, readNote } from '../source/samples.ts';
import { initLog, type LogHome, openLogHome } from './log-home.ts';
import { document, readFolder } from './samples.ts';
import { openSequencer } from './sequencer.ts';

const folder = mkdtempSync(`${tmpdir()}/lockstep-race-`);
after(() => rmSync(folder, { recursive: true, force: true }));

const url = (file: string): string => JSON.stringify(new URL(file, import.meta.url).href);

/** Appends documents one after the other, or a few at once, and says which index each got. */
const CHILD = `
import { openLogHome } from ${url('./log-home.ts')};
import { openSequencer } from ${url('./sequencer.ts')};
import { document } from ${url('./samples.ts')};
const [root, prefix, times] = process.argv.slice(1);
const sequencer = await openSequencer(openLogHome(root), null);
for (let at = 0; at < Number(times); at += 2)
  await Promise.all([at, at + 1].map(async (one) => console.log(prefix + one, await sequencer.append(document(prefix + one)))));
if (prefix === 'b') await sequencer.close();
`;

async function run(root: string, prefix: string, times: number): Promise<Map<string, number>> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', CHILD, root, prefix, String(times)], {
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
    const note = readFolder(`${home.root}/public`)('checkpoint');
    const size = note === null ? 0 : readNote(Buffer.from(note).toString(), home.key).size;
    assert.ok(size >= last, `${size} after ${last}`);
    last = size;
    if (over) return looks;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

test('two processes that append to one log at once never fork and lose nothing', async () => {
  const home = initLog(`${folder}/log`, 'log.example.org/farm', null);
  const children = Promise.all([run(home.root, 'a', 100), run(home.root, 'b', 100)]);
  const looks = await watch(home, children);
  const [a, b] = await children;
  assert.ok(looks > 10);
  const reading = readFromScratch(readFolder(`${home.root}/public`), home.key);
  assert.equal(reading.size, 200);
  const acknowledged = new Map([...a, ...b]);
  assert.equal(acknowledged.size, 200);
  for (const [label, index] of acknowledged) assert.equal(String(reading.entries[index]), `entry ${label}`);
  assert.deepEqual(readdirSync(`${home.root}/locks`), [], 'no lock and no temporary file is left');
  const sequencer = await openSequencer(openLogHome(home.root), null);
  assert.equal(await sequencer.append(document('a7')), acknowledged.get('a7'));
  await sequencer.close();
  assert.ok(readdirSync(`${home.root}/staging`).length >= 1);
});
