import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Place, PLACES } from './object-samples.ts';
import { Acknowledged, copyDisk, type Disk, document, emptyDisk, labels, nextTurn, requireSound } from './samples.ts';
import { openSequencer, type Sequencer } from './sequencer.ts';

class Killed extends Error {}

type Mode = 'before its effect' | 'after its effect';

/** From the n-th step on nothing gets through any more: the process is gone. */
function killAt(n: number, mode: Mode): { around: <T>(step: string, effect: () => T) => T; at: () => string | null } {
  let count = 0;
  let at: string | null = null;
  return {
    at: () => at,
    around: (step, effect) => {
      if (at !== null) throw new Killed();
      if (count++ !== n) return effect();
      at = step;
      if (mode === 'after its effect') effect();
      throw new Killed();
    },
  };
}

type Groups = readonly (readonly string[])[];
const GROUPS: Groups = [labels('a', 1), labels('b', 3), labels('c', 2)];

async function appendGroups(groups: Groups, sequencer: Sequencer, acknowledged: Acknowledged): Promise<void> {
  for (const group of groups) {
    const results = await Promise.allSettled(group.map((label) => acknowledged.append(sequencer, label)));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }
  await sequencer.close();
}

/** @returns the step at which the process was killed; null when it came to its end before. What a dead process says does not count. */
async function runUntilKilled(
  { home }: Place,
  groups: Groups,
  disk: Disk,
  n: number,
  mode: Mode,
  acknowledged: Acknowledged,
): Promise<string | null> {
  const kill = killAt(n, mode);
  try {
    await appendGroups(groups, await openSequencer(home(disk, kill), null), acknowledged);
  } catch (error) {
    if (kill.at() === null || error instanceof assert.AssertionError) throw error;
  }
  await nextTurn();
  return kill.at();
}

/** @returns the step at which it was killed; null when the run was over before */
async function killedRun(place: Place, groups: Groups, start: Disk, n: number, mode: Mode): Promise<string | null> {
  const disk = copyDisk(start);
  const acknowledged = new Acknowledged(disk);
  const at = await runUntilKilled(place, groups, disk, n, mode, acknowledged);
  const again = await openSequencer(place.home(disk), null);
  // The client's answers were lost: everything is submitted again, twice, and in another order.
  const all = groups.flat().reverse();
  await Promise.all([...all, ...all].map((label) => acknowledged.append(again, label)));
  await again.close();
  const reading = requireSound(disk, acknowledged.indexes);
  assert.equal(reading.size, (start.swapped.length === 0 ? 0 : 254) + all.length);
  assert.equal(new Set(acknowledged.indexes.values()).size, all.length);
  // What the killed one had staged and not decided stays too: nobody can know that it is not about to.
  assert.ok(disk.staged.size <= 2, 'what was decided before is removed');
  return at;
}

/** @param every one step of so many, others before its effect than after it */
async function killEverywhere(place: Place, groups: Groups, start: Disk, every = 1): Promise<void> {
  for (const mode of ['before its effect', 'after its effect'] as const) {
    const killed = new Set<string>();
    for (let n = mode === 'after its effect' ? every >> 1 : 0; ; n += every) {
      const at = await killedRun(place, groups, start, n, mode).catch((error: unknown) => {
        throw new Error(`killed at step ${n}, ${mode}`, { cause: error });
      });
      if (at === null) break;
      killed.add(at.split(' ')[0] ?? '');
    }
    if (every === 1) for (const step of place.steps) assert.ok(killed.has(step), `${step} was among the steps`);
  }
}

for (const place of PLACES) {
  test(`a sequencer of a new log that is killed at any step, before or after its effect, loses nothing and never forks (${place.where})`, async () => {
    await killEverywhere(place, GROUPS, emptyDisk());
  });

  test(`a sequencer that is killed at any step while a tile becomes full loses nothing and never forks (${place.where})`, async () => {
    const start = emptyDisk();
    const sequencer = await openSequencer(place.home(start), null);
    await Promise.all(labels('old', 254).map((label) => sequencer.append(document(label))));
    await sequencer.close();
    await killEverywhere(place, [labels('a', 3), ['b']], start, place.sample);
  });

  test(`a sequencer that is killed again while it recovers loses nothing (${place.where})`, async () => {
    for (const first of [8, 11, 14, 20, 26, 33])
      for (let second = 0; second < 12; second += place.sample) {
        const disk = emptyDisk();
        const acknowledged = new Acknowledged(disk);
        for (const n of [first, second]) await runUntilKilled(place, GROUPS, disk, n, 'after its effect', acknowledged);
        const again = await openSequencer(place.home(disk), null);
        for (const label of GROUPS.flat()) await acknowledged.append(again, label);
        assert.equal(requireSound(disk, acknowledged.indexes).size, GROUPS.flat().length);
      }
  });
}
