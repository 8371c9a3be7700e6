import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { readFromScratch } from '../source/samples.ts';
import { monitorLog } from '../watch/monitor.ts';
import { initLog, type LogHome, openLogHome } from './log-home.ts';
import { document, readFolder, signedDocument } from './samples.ts';
import { openSequencer } from './sequencer.ts';

/** In memory where there is such a folder: every write is synced, some thousand times. */
const base = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
const folder = mkdtempSync(`${base}/lockstep-flipped-`);
after(() => rmSync(folder, { recursive: true, force: true }));

const DETECTED = new Set(['LOG_CORRUPT', 'LOG_INCONSISTENT', 'LOG_ROLLED_BACK']);
const NOT_FLIPPED = /^(?:keys\/|log\.json$|locks\/)/;

type Files = ReadonlyMap<string, Buffer>;

function filesOf(root: string): Files {
  const names = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => statSync(`${root}/${name}`).isFile());
  return new Map(names.map((name) => [name, readFileSync(`${root}/${name}`)]));
}

/** Leaves exactly `files` in a folder. */
function restore(root: string, files: Files): void {
  for (const [name, bytes] of filesOf(root))
    if (!files.has(name)) rmSync(`${root}/${name}`);
    else if (!bytes.equals(files.get(name) ?? Buffer.alloc(0))) writeFileSync(`${root}/${name}`, files.get(name) ?? '');
  for (const [name, bytes] of files) if (!existsSync(`${root}/${name}`)) writeFileSync(`${root}/${name}`, bytes);
}

/** Six entries in groups of 3, 2 and 1; closed or as a killed process leaves it. */
async function smallLog(name: string, close: boolean): Promise<LogHome> {
  const home = initLog(`${folder}/${name}`, 'log.example.org/farm', null);
  const sequencer = await openSequencer(home, null);
  for (const group of [[0, 1, 2], [3, 4], [5]]) await Promise.all(group.map((label) => sequencer.append(document(label, `s${label}`))));
  if (close) await sequencer.close();
  return home;
}

/** What came of one flipped byte: it was found, or the log went on and everything that a checkpoint covers is right. */
async function outcomeOf(root: string, before: Files): Promise<'detected' | 'went on'> {
  const home = openLogHome(root);
  try {
    const sequencer = await openSequencer(home, null);
    assert.equal(await sequencer.append(document('new')), 6);
  } catch (error) {
    if (!(error instanceof LockstepError)) throw error;
    assert.ok(DETECTED.has(error.code), `${error.code}: ${error.message}`);
    const now = filesOf(root);
    for (const name of ['public/checkpoint', 'cells/checkpoint.cell'])
      assert.equal(now.get(name)?.length, before.get(name)?.length, `nothing was signed over it: ${name} did not grow`);
    assert.ok(!now.has('public/tile/entries/000.p/7'));
    return 'detected';
  }
  const reading = readFromScratch(readFolder(`${root}/public`), home.key);
  assert.deepEqual(
    reading.entries.map(String),
    [0, 1, 2, 3, 4, 5, 'new'].map((label) => `entry ${label}`),
  );
  return 'went on';
}

/** @param step of public files, where every byte is flipped by another test */
async function flipEverything(name: string, close: boolean, step: number): Promise<Map<string, Set<string>>> {
  const { root } = await smallLog(name, close);
  const before = filesOf(root);
  const outcomes = new Map<string, Set<string>>();
  for (const [file, bytes] of before) {
    if (NOT_FLIPPED.test(file)) continue;
    for (let at = 0; at < bytes.length; at += file.startsWith('public/') ? step : 1) {
      const flipped = Buffer.from(bytes);
      // One bit, another one from byte to byte; so letters turn into other letters as well as into none.
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
      writeFileSync(`${root}/${file}`, flipped);
      const outcome = await outcomeOf(root, before).catch((error: unknown) => {
        throw new Error(`${file}, byte ${at}`, { cause: error });
      });
      const kind = file.replace(/^staging\/.*/, 'staging').replace(/^public\/statement\/.*/, 'statement');
      outcomes.set(kind, (outcomes.get(kind) ?? new Set()).add(outcome));
      restore(root, before);
    }
  }
  return outcomes;
}

test('every flipped byte of a closed log is detected or repaired, and never signed over', async () => {
  const outcomes = await flipEverything('closed', true, 1);
  const found = (kind: string): string[] => [...(outcomes.get(kind) ?? [])];
  assert.deepEqual(found('public/checkpoint'), ['detected']);
  // The last group is still staged, so its tiles are written again; tiles of earlier sizes are not part of the tree any more.
  for (const width of [3, 5, 6])
    for (const level of ['entries', '0']) assert.deepEqual(found(`public/tile/${level}/000.p/${width}`), ['went on'], `${level} ${width}`);
  assert.deepEqual(found('staging'), ['detected']);
  assert.deepEqual(found('statement'), ['went on'], 'its digest says so: the log goes on, monitors call it opaque');
  assert.ok(found('cells/checkpoint.cell').includes('detected'));
});

test('every flipped byte of a log as a killed process leaves it is detected or repaired, and never signed over', async () => {
  const outcomes = await flipEverything('killed', false, 7);
  assert.deepEqual([...(outcomes.get('public/checkpoint') ?? [])], ['detected']);
});

test('a flipped byte under a tile of the tree is detected when no staged group can repair it', async () => {
  const { root } = await smallLog('unstaged', true);
  for (const name of readdirSync(`${root}/staging`)) rmSync(`${root}/staging/${name}`);
  const before = filesOf(root);
  for (const file of ['public/tile/entries/000.p/6', 'public/tile/0/000.p/6'])
    for (const [at, byte] of (before.get(file) ?? Buffer.alloc(0)).entries()) {
      const flipped = Buffer.from(before.get(file) ?? '');
      flipped[at] = byte ^ (1 << (at % 8));
      writeFileSync(`${root}/${file}`, flipped);
      assert.equal(await outcomeOf(root, before), 'detected', `${file}, byte ${at}`);
      restore(root, before);
    }
});

test('a flipped byte of a statement makes its entry opaque to a monitor, and no other', async () => {
  const home = initLog(`${folder}/statements`, 'log.example.org/farm', null);
  const sequencer = await openSequencer(home, null);
  const documents = [0, 1, 2].map((label) => signedDocument(`{"n":${label}}`));
  for (const one of documents) await sequencer.append(one);
  await sequencer.close();
  const digest = documents[1]?.digest ?? '';
  const file = `${home.root}/public/statement/${digest.slice(0, 2)}/${digest.slice(2)}`;
  const bytes = readFileSync(file);
  for (let at = 0; at < bytes.length; at++) {
    const flipped = Buffer.from(bytes);
    flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
    writeFileSync(file, flipped);
    // Reopening does not look at it, since the last group is another one: it is no part of the tree.
    const again = await openSequencer(openLogHome(home.root), null);
    assert.equal(await again.append(documents[1] ?? document(1)), 1);
    const { entries } = await monitorLog(home.source, home.key, [], null);
    assert.deepEqual(
      entries.map(({ opaque }) => opaque !== null),
      [false, true, false],
    );
  }
});
