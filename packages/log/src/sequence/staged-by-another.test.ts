import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Disk, document, emptyDisk, FOREVER, memoryHome, nextTurn, requireSound } from './samples.ts';
import { openSequencer } from './sequencer.ts';

/** A log with one entry. */
async function startedDisk(): Promise<Disk> {
  const disk = emptyDisk();
  await (await openSequencer(memoryHome(disk), null)).append(document('old'));
  return disk;
}

/** A process that decides an entry, and is killed before it has written a public file of it. */
async function decideAndDie(disk: Disk, label: string): Promise<void> {
  await new Promise<void>((killed) => {
    const pause = (step: string): Promise<void> => {
      if (!step.startsWith('files.write')) return Promise.resolve();
      killed();
      return FOREVER;
    };
    void openSequencer(memoryHome(disk, { pause }), null).then((sequencer) => sequencer.append(document(label)));
  });
}

test('what a killed sequencer has decided is written by the next one', async () => {
  const disk = await startedDisk();
  await decideAndDie(disk, 'new');
  assert.equal(await (await openSequencer(memoryHome(disk), null)).append(document('new')), 1);
  requireSound(disk, new Map([['new', 1]]));
});

test('append that loses with the same document leaves what the winner, killed at once, has staged', async () => {
  const disk = await startedDisk();
  const loser = await openSequencer(memoryHome(disk), null);
  await decideAndDie(disk, 'new');
  assert.equal(await loser.append(document('new')), 1);
  requireSound(disk, new Map([['new', 1]]));
});

test('append that loses with another document leaves what the winner, killed at once, has staged', async () => {
  const disk = await startedDisk();
  const loser = await openSequencer(memoryHome(disk), null);
  await decideAndDie(disk, 'new');
  assert.equal(await loser.append(document('other')), 2);
  requireSound(disk, new Map([['new', 1]]));
});

test('close leaves what another sequencer, killed at once, has decided since', async () => {
  const disk = await startedDisk();
  const closing = await openSequencer(memoryHome(disk), null);
  await decideAndDie(disk, 'new');
  await closing.close();
  assert.equal(await (await openSequencer(memoryHome(disk), null)).append(document('new')), 1);
  requireSound(disk, new Map([['new', 1]]));
});

test('close leaves what another sequencer has staged and decides a moment later', async () => {
  const disk = await startedDisk();
  const closing = await openSequencer(memoryHome(disk), null);
  let decide = (): void => undefined;
  await new Promise<void>((staged) => {
    const slow = memoryHome(disk, {
      delay(step) {
        if (step !== 'staging.put') return Promise.resolve();
        staged();
        return new Promise((resolve) => {
          decide = resolve;
        });
      },
      pause: (step) => (step.startsWith('files.write') ? FOREVER : Promise.resolve()),
    });
    void openSequencer(slow, null).then((sequencer) => sequencer.append(document('new')));
  });
  await closing.close();
  decide();
  await nextTurn();
  assert.equal(await (await openSequencer(memoryHome(disk), null)).append(document('new')), 1);
  requireSound(disk, new Map([['new', 1]]));
});
