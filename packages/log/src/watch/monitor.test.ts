import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openLogCheckpoint } from '@lockstep/protocol/checkpoint/open';
import { copyDisk, type Disk, document, LOG_KEY, labels } from '../sequence/samples.ts';
import { requireConsistent } from '../source/tree-reader.ts';
import { monitorLog } from './monitor.ts';
import { grownLog, oneByOne, sourceOf } from './samples.ts';

const SIZE = 300;
const disk = await grownLog(oneByOne(SIZE));
const noteAt = (of: Disk, size: number): string => of.published[size - 1] ?? '';
const headAt = (of: Disk, size: number): { size: number; root: Uint8Array } => openLogCheckpoint(noteAt(of, size), LOG_KEY).checkpoint;

/** The log as it was served at an earlier size. */
function atSize(of: Disk, size: number): Disk {
  const copy = copyDisk(of);
  copy.files.set('checkpoint', Buffer.from(noteAt(of, size)));
  return copy;
}

test('monitorLog continues from every earlier checkpoint, and reports each new entry once', async () => {
  for (let from = 1; from <= SIZE; from++) {
    const { entries, from: since, view } = await monitorLog(sourceOf(disk), LOG_KEY, [], noteAt(disk, from));
    assert.deepEqual([since, view.checkpoint.size, entries.length], [from, SIZE, SIZE - from]);
    assert.equal(entries[0]?.index ?? SIZE, from);
  }
  const whole = await monitorLog(sourceOf(disk), LOG_KEY, [], null);
  assert.deepEqual(
    whole.entries.map(({ index }) => index),
    Array.from({ length: SIZE }, (_, at) => at),
  );
  assert.equal(whole.view.text, noteAt(disk, SIZE));
});

test('monitorLog continues from an earlier checkpoint over files that are only those of the newest one, as on a mirror', async () => {
  const mirrored = await grownLog([oneByOne(SIZE).flat()]);
  assert.equal(mirrored.published[0], noteAt(disk, SIZE), 'the same tree');
  for (let from = 1; from <= SIZE; from += 7) {
    const report = await monitorLog(sourceOf(mirrored), LOG_KEY, [], noteAt(disk, from)).catch((error: unknown) => {
      throw new Error(`from ${from}`, { cause: error });
    });
    assert.equal(report.entries.length, SIZE - from);
  }
});

test('requireConsistent holds between any two sizes of one log, and not when either root is another', async () => {
  const other = new Uint8Array(32);
  const source = sourceOf(disk);
  const heads = Array.from({ length: SIZE }, (_, at) => headAt(disk, at + 1));
  for (let from = 1; from <= SIZE; from += from < 20 ? 1 : 13)
    for (let to = from; to <= SIZE; to += to < 20 ? 1 : 11) {
      const older = heads[from - 1]!;
      const newer = heads[to - 1]!;
      await requireConsistent(source, older, newer);
      await assert.rejects(requireConsistent(source, { ...older, root: other }, newer), { code: 'LOG_INCONSISTENT' });
      await assert.rejects(requireConsistent(source, older, { ...newer, root: other }), { code: 'LOG_INCONSISTENT' });
      if (to > from) await assert.rejects(requireConsistent(source, newer, older), { code: 'LOG_INCONSISTENT' });
    }
});

test('monitorLog calls a rewritten history inconsistent, from every checkpoint that had the entry', async () => {
  for (const at of [0, 1, 100, 255, 256]) {
    const rewritten = await grownLog([[...oneByOne(at).flat(), document('another'), ...oneByOne(SIZE - 1 - at, 'e', at + 1).flat()]]);
    for (const from of [at + 1, at + 2, 257, 299].filter((size) => size > at))
      await assert.rejects(
        monitorLog(sourceOf(rewritten), LOG_KEY, [], noteAt(disk, from)),
        { code: 'LOG_INCONSISTENT' },
        `${at}, ${from}`,
      );
  }
});

test('monitorLog calls a log that shrank inconsistent', async () => {
  for (const [from, to] of [
    [300, 299],
    [300, 1],
    [257, 256],
  ] as const)
    await assert.rejects(monitorLog(sourceOf(atSize(disk, to)), LOG_KEY, [], noteAt(disk, from)), {
      code: 'LOG_INCONSISTENT',
      message: `sample now has ${to} entries, and had ${from}`,
    });
});

test('monitorLog calls a split view inconsistent: two checkpoints of one size', async () => {
  for (const size of [1, 40, 256]) {
    const view = await grownLog([labels('other', size).map((label) => document(label))]);
    await assert.rejects(monitorLog(sourceOf(view), LOG_KEY, [], noteAt(disk, size)), { code: 'LOG_INCONSISTENT' });
  }
});

const TREE = ['tile/entries/000', 'tile/entries/001.p/44', 'tile/0/000', 'tile/0/001.p/44', 'tile/1/000.p/1'];

test('monitorLog calls files of the tree that are missing, cut off, too long or changed corrupt', async () => {
  const changes: Readonly<Record<string, (bytes: Uint8Array) => Uint8Array | null>> = {
    missing: () => null,
    empty: () => new Uint8Array(0),
    'cut off': (bytes) => bytes.slice(0, -1),
    'cut off by a hash': (bytes) => bytes.slice(0, -32),
    'too long': (bytes) => Buffer.concat([bytes, Buffer.of(0)]),
    changed: (bytes) => bytes.map((byte, at) => (at === bytes.length - 1 ? byte ^ 1 : byte)),
  };
  for (const path of TREE)
    for (const [how, change] of Object.entries(changes))
      for (const last of [null, noteAt(disk, 1), noteAt(disk, 256), noteAt(disk, 299)]) {
        const source = sourceOf(disk, (name, bytes) => (name === path ? change(bytes) : bytes));
        const what = `${path} ${how}, from ${last?.split('\n')[1] ?? 'the beginning'}`;
        try {
          const { entries } = await monitorLog(source, LOG_KEY, [], last);
          // What it had accepted before, it does not read again.
          assert.ok(last !== null && /\/000$/.test(path), what);
          assert.equal(entries.length, SIZE - Number(last.split('\n')[1]));
        } catch (error) {
          if (error instanceof assert.AssertionError) throw error;
          const codes = last === null ? ['LOG_CORRUPT'] : ['LOG_CORRUPT', 'LOG_INCONSISTENT'];
          assert.ok(codes.includes((error as { code: string }).code), `${what}: ${String(error)}`);
        }
      }
});

test('monitorLog needs no partial file once the full one is there', async () => {
  const source = sourceOf(disk, (path, bytes) => (/000\.p\/\d+$/.test(path) && !path.startsWith('tile/1') ? null : bytes));
  for (const from of [1, 17, 255, 256])
    assert.equal((await monitorLog(source, LOG_KEY, [], noteAt(disk, from))).entries.length, SIZE - from);
});

test('monitorLog refuses a checkpoint that is missing, damaged or signed by somebody else', async () => {
  const checkpoint = (change: (bytes: Uint8Array) => Uint8Array | null): Promise<unknown> =>
    monitorLog(
      sourceOf(disk, (path, bytes) => (path === 'checkpoint' ? change(bytes) : bytes)),
      LOG_KEY,
      [],
      null,
    );
  await assert.rejects(
    checkpoint(() => null),
    { code: 'FILE_NOT_FOUND' },
  );
  for (const at of [0, 25, 30, 80, 130])
    await assert.rejects(
      checkpoint((bytes) => bytes.map((byte, index) => (index === at ? byte ^ 1 : byte))),
      (error: { code: string }) => error.code === 'NOTE_INVALID' || error.code === 'CHECKPOINT_INVALID',
    );
  await assert.rejects(monitorLog(sourceOf(disk), { ...LOG_KEY, keyId: '00000000' }, [], null), { code: 'NOTE_INVALID' });
});
