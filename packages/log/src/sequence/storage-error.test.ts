import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { type Place, PLACES } from './object-samples.ts';
import {
  Acknowledged,
  type Around,
  type Disk,
  document,
  emptyDisk,
  FOREVER,
  labels,
  memoryHome,
  nextTurn,
  requireSound,
} from './samples.ts';
import { openSequencer, type Sequencer } from './sequencer.ts';

class StorageError extends Error {}

/** The steps with these numbers fail; all others do what they should. */
function failAt(steps: ReadonlyMap<number, 'before' | 'after'>): { around: Around; count: () => number } {
  let count = 0;
  return {
    count: () => count,
    around: (_, effect) => {
      const mode = steps.get(count++);
      if (mode === 'before') throw new StorageError();
      const result = effect();
      if (mode === 'after') throw new StorageError();
      return result;
    },
  };
}

const GROUPS = [labels('a', 2), labels('b', 1), labels('c', 3)];

/** The same process goes on; its clients try each document until they have an answer. @returns the steps that it took */
async function run({ home }: Place, disk: Disk, steps: ReadonlyMap<number, 'before' | 'after'>): Promise<number> {
  const faults = failAt(steps);
  const acknowledged = new Acknowledged(disk);
  const patiently = async <T>(act: () => Promise<T>): Promise<T> => {
    for (let attempt = 0; attempt <= steps.size; attempt++)
      try {
        return await act();
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        await nextTurn();
      }
    throw new Error('more errors than were injected');
  };
  const sequencer: Sequencer = await patiently(() => openSequencer(home(disk, faults), null));
  for (const group of GROUPS) await Promise.all(group.map((label) => patiently(() => acknowledged.append(sequencer, label))));
  await patiently(() => sequencer.close());
  assert.equal(requireSound(disk, acknowledged.indexes).size, GROUPS.flat().length);
  const again = await openSequencer(home(disk), null);
  for (const label of GROUPS.flat()) await acknowledged.append(again, label);
  assert.equal(requireSound(disk, acknowledged.indexes).size, GROUPS.flat().length);
  return faults.count();
}

for (const place of PLACES) {
  test(`a sequencer whose storage ${place.where} fails once, before or after doing what it was asked, goes on`, async () => {
    for (const mode of ['before', 'after'] as const)
      for (let n = 0, total = 1; n < total; n++) {
        total = await run(place, emptyDisk(), new Map([[n, mode]])).catch((error: unknown) => {
          throw new Error(`storage failed at step ${n}, ${mode} its effect`, { cause: error });
        });
      }
  });

  test(`a sequencer whose storage ${place.where} fails twice, within a few steps, goes on`, async () => {
    const total = await run(place, emptyDisk(), new Map());
    for (let n = 4; n < total; n += 2 * place.sample)
      for (const gap of [1, 2, 3, 5, 7]) {
        const steps = new Map([
          [n, 'after'],
          [n + gap, gap % 2 === 0 ? 'after' : 'before'],
        ] as const);
        await run(place, emptyDisk(), steps).catch((error: unknown) => {
          throw new Error(`storage failed at steps ${n} and ${n + gap}`, { cause: error });
        });
      }
  });
}

test('append that is tried again at once is answered, when the storage failed and reading again failed too', async () => {
  let failing = true;
  const around: Around = (step, effect) => {
    if (failing && step !== 'source.read') throw new StorageError(step);
    return effect();
  };
  failing = false;
  const sequencer = await openSequencer(memoryHome(emptyDisk(), { around }), null);
  assert.equal(await sequencer.append(document('a')), 0);
  failing = true;
  const trying = async (): Promise<number> => {
    for (let attempt = 0; attempt < 3; attempt++) {
      if (attempt === 2) failing = false;
      try {
        return await sequencer.append(document('b'));
      } catch (error) {
        assert.ok(error instanceof StorageError);
      }
    }
    return -1;
  };
  const timer = new AbortController();
  const late = setTimeout(2000, 'no answer within two seconds', { signal: timer.signal }).catch(() => '');
  assert.equal(await Promise.race([trying(), late]), 1);
  timer.abort();
});

test('append is not acknowledged before its checkpoint is published, when the recovery that read its entry failed', async () => {
  const disk = emptyDisk();
  const failing = new Set<string>();
  const around: Around = (step, effect) => {
    for (const one of failing) if (step.startsWith(one) && failing.delete(one)) throw new StorageError(step);
    return effect();
  };
  const acknowledged = new Acknowledged(disk);
  const sequencer = await openSequencer(memoryHome(disk, { around }), null);
  await acknowledged.append(sequencer, 'first');
  // The checkpoint is decided; then one file cannot be written, and the recovery reads the entry but not its tile.
  failing.add('files.write statement').add('source.read tile/0');
  await assert.rejects(acknowledged.append(sequencer, 'second'), StorageError);
  await nextTurn();
  assert.equal(failing.size, 0, 'both have failed');
  // Its client tries again. When it is answered, the checkpoint that covers it has to be there: `Acknowledged` looks.
  await acknowledged.append(sequencer, 'second');
  assert.equal(acknowledged.indexes.get('second'), 1);
  requireSound(disk, acknowledged.indexes);
});

test('append is not acknowledged before its checkpoint is published, when the recovery failed at the last file that it reads', async () => {
  const disk = emptyDisk();
  // The last bundle is read to be replayed, and once more to be continued.
  let coming: string[] = [];
  const around: Around = (step, effect) => {
    if (!step.startsWith(coming[0] ?? 'nothing')) return effect();
    if (coming.shift() === 'source.read tile/entries' && coming.length > 0) return effect();
    throw new StorageError(step);
  };
  const acknowledged = new Acknowledged(disk);
  const sequencer = await openSequencer(memoryHome(disk, { around }), null);
  await acknowledged.append(sequencer, 'first');
  coming = ['files.write statement', 'source.read tile/entries', 'source.read tile/entries'];
  await assert.rejects(acknowledged.append(sequencer, 'second'), StorageError);
  await nextTurn();
  assert.deepEqual(coming, [], 'both have failed');
  await acknowledged.append(sequencer, 'second');
  requireSound(disk, acknowledged.indexes);
});

test('append is not acknowledged before its checkpoint is published, when the entry was read after a lost race and all that followed failed', async () => {
  const disk = emptyDisk();
  let staged = 0;
  let failing = false;
  const around: Around = (step, effect) => {
    if (step === 'staging.put' && ++staged === 3) failing = true;
    if (failing) throw new StorageError(step);
    return effect();
  };
  const acknowledged = new Acknowledged(disk);
  const sequencer = await openSequencer(memoryHome(disk, { around }), null);
  await acknowledged.append(sequencer, 'first');
  // Another one decides an entry, and is gone before it has published it.
  const pause = (step: string): Promise<void> => (step.startsWith('files.write') ? FOREVER : Promise.resolve());
  void (await openSequencer(memoryHome(disk, { pause }), null)).append(document('x'));
  await nextTurn();
  assert.equal(disk.swapped.length, 2);
  // This one loses against it, reads it, and cannot stage what else it was given; nor can it read again what was decided.
  const both = ['x', 'y'].map((label) => assert.rejects(acknowledged.append(sequencer, label), StorageError));
  await Promise.all(both);
  await nextTurn();
  failing = false;
  await acknowledged.append(sequencer, 'x');
  assert.equal(acknowledged.indexes.get('x'), 1);
  requireSound(disk, acknowledged.indexes);
});

test('append that is tried again after the storage failed and reading again failed too does not remove what was decided', async () => {
  const disk = emptyDisk();
  const failing = new Set<string>();
  const around: Around = (step, effect) => {
    for (const one of failing) if (step.startsWith(one) && failing.delete(one)) throw new StorageError(step);
    return effect();
  };
  const acknowledged = new Acknowledged(disk);
  const sequencer = await openSequencer(memoryHome(disk, { around }), null);
  // The same group is staged again under the same name, loses against the checkpoint that it has led to itself, and is thrown away.
  failing.add('files.write statement').add('files.read tile');
  await assert.rejects(acknowledged.append(sequencer, 'one'), StorageError);
  await nextTurn();
  await acknowledged.append(sequencer, 'one');
  requireSound(disk, acknowledged.indexes);
});

test('append answers a document that was remembered longest with its index, in a group that makes it forgotten', async () => {
  const disk = emptyDisk();
  const sequencer = await openSequencer(memoryHome(disk), null);
  const all = labels('', 65_536);
  await Promise.all(all.map((label) => sequencer.append(document(label, 'the same statement'))));
  const again = [sequencer.append(document(0, 'the same statement')), sequencer.append(document('new', 'the same statement'))];
  assert.deepEqual(await Promise.all(again), [0, 65_536]);
});
