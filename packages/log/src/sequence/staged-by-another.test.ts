import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Place, PLACES } from './object-samples.ts';
import { type Disk, document, emptyDisk, FOREVER, nextTurn, requireSound } from './samples.ts';
import { openSequencer } from './sequencer.ts';

/** A log with one entry. */
async function startedDisk({ home }: Place): Promise<Disk> {
  const disk = emptyDisk();
  await (await openSequencer(home(disk), null)).append(document('old'));
  return disk;
}

/** A process that decides an entry, and is killed before it has written a public file of it. */
async function decideAndDie({ home, write }: Place, disk: Disk, label: string): Promise<void> {
  await new Promise<void>((killed) => {
    const pause = (step: string): Promise<void> => {
      if (!step.startsWith(write)) return Promise.resolve();
      killed();
      return FOREVER;
    };
    void openSequencer(home(disk, { pause }), null).then((sequencer) => sequencer.append(document(label)));
  });
}

for (const place of PLACES) {
  test(`what a killed sequencer has decided is written by the next one (${place.where})`, async () => {
    const disk = await startedDisk(place);
    await decideAndDie(place, disk, 'new');
    assert.equal(await (await openSequencer(place.home(disk), null)).append(document('new')), 1);
    requireSound(disk, new Map([['new', 1]]));
  });

  test(`append that loses with the same document leaves what the winner, killed at once, has staged (${place.where})`, async () => {
    const disk = await startedDisk(place);
    const loser = await openSequencer(place.home(disk), null);
    await decideAndDie(place, disk, 'new');
    assert.equal(await loser.append(document('new')), 1);
    requireSound(disk, new Map([['new', 1]]));
  });

  test(`append that loses with another document leaves what the winner, killed at once, has staged (${place.where})`, async () => {
    const disk = await startedDisk(place);
    const loser = await openSequencer(place.home(disk), null);
    await decideAndDie(place, disk, 'new');
    assert.equal(await loser.append(document('other')), 2);
    requireSound(disk, new Map([['new', 1]]));
  });

  test(`close leaves what another sequencer, killed at once, has decided since (${place.where})`, async () => {
    const disk = await startedDisk(place);
    const closing = await openSequencer(place.home(disk), null);
    await decideAndDie(place, disk, 'new');
    await closing.close();
    assert.equal(await (await openSequencer(place.home(disk), null)).append(document('new')), 1);
    requireSound(disk, new Map([['new', 1]]));
  });

  test(`close leaves what another sequencer has staged and decides a moment later (${place.where})`, async () => {
    const disk = await startedDisk(place);
    const closing = await openSequencer(place.home(disk), null);
    let decide = (): void => undefined;
    await new Promise<void>((staged) => {
      const slow = place.home(disk, {
        delay(step) {
          if (!step.startsWith(place.stage)) return Promise.resolve();
          staged();
          return new Promise((resolve) => {
            decide = resolve;
          });
        },
        pause: (step) => (step.startsWith(place.write) ? FOREVER : Promise.resolve()),
      });
      void openSequencer(slow, null).then((sequencer) => sequencer.append(document('new')));
    });
    await closing.close();
    decide();
    await nextTurn();
    assert.equal(await (await openSequencer(place.home(disk), null)).append(document('new')), 1);
    requireSound(disk, new Map([['new', 1]]));
  });
}
