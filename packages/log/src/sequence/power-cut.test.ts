import assert from 'node:assert/strict';
import { test } from 'node:test';
import { monitorLog } from '../watch/monitor.ts';
import {
  Acknowledged,
  type Disk,
  emptyDisk,
  LOG_KEY,
  labels,
  memoryHome,
  publishedSize,
  readDisk,
  requireSound,
  sha256Of,
} from './samples.ts';
import { openSequencer } from './sequencer.ts';

/**
 * Staging, cells and the published checkpoint are on the disk when they are written; other public files are once they
 * were flushed. Of those that were not, a power cut leaves nothing (or, after a rename, an empty file).
 */
function cutPower(disk: Disk, left: 'nothing' | 'empty files' | 'every second file'): void {
  const before = disk.files;
  disk.files = new Map(disk.flushed);
  for (const [at, [path, bytes]] of [...before].entries()) {
    if (disk.flushed.has(path)) continue;
    if (left === 'empty files') disk.files.set(path, new Uint8Array(0));
    if (left === 'every second file' && at % 2 === 0) disk.files.set(path, bytes);
  }
}

async function survives(groups: readonly (readonly string[])[], left: Parameters<typeof cutPower>[1]): Promise<void> {
  const disk = emptyDisk();
  const acknowledged = new Acknowledged(disk);
  const sequencer = await openSequencer(memoryHome(disk), null);
  for (const group of groups) await Promise.all(group.map((label) => acknowledged.append(sequencer, label)));
  const size = publishedSize(disk);
  cutPower(disk, left);
  const again = await openSequencer(memoryHome(disk), null);
  await acknowledged.append(again, 'after');
  await again.close();
  const reading = requireSound(disk, acknowledged.indexes);
  assert.equal(reading.size, size + 1);
  for (const label of groups.flat()) {
    const statement = Buffer.from(`statement ${label}`);
    const digest = sha256Of(statement);
    const found = readDisk(disk)(`statement/${digest.slice(0, 2)}/${digest.slice(2)}`);
    assert.deepEqual(found === null ? null : Buffer.from(found), statement, `the statement of ${label} is there`);
  }
  await monitorLog(memoryHome(disk).source, LOG_KEY, [], null);
}

test('a power cut after one group loses nothing of it', async () => {
  for (const left of ['nothing', 'empty files', 'every second file'] as const) await survives([labels('a', 5)], left);
});

test('a power cut after several groups, before their public files were flushed, loses no entry and no statement', async () => {
  for (const left of ['nothing', 'empty files', 'every second file'] as const)
    await survives([labels('a', 5), ['b'], labels('c', 2)], left);
});

test('a power cut after groups that filled a tile, before their public files were flushed, loses nothing', async () => {
  for (const left of ['nothing', 'empty files', 'every second file'] as const)
    await survives([labels('a', 200), labels('b', 100), labels('c', 10)], left);
});
