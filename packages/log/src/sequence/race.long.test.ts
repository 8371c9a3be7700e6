import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Place, PLACES } from './object-samples.ts';
import { Acknowledged, type Conduct, type Disk, emptyDisk, random, requireSound } from './samples.ts';
import { openSequencer, type Sequencer } from './sequencer.ts';

/** Swaps that are to be lost. 10,000 take a minute. */
const RACES = Number(process.env['LOCKSTEP_RACES'] ?? 2000);

/** Each asynchronous step waits for a few turns, so that those of several sequencers are shuffled. */
function shuffled({ swap }: Place, next: () => number, lost: () => void): Conduct {
  const someTurns = async (): Promise<void> => {
    for (let turns = Math.floor(next() * 4); turns > 0; turns--) await Promise.resolve();
    if (next() < 0.05) await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    pause: someTurns,
    delay: someTurns,
    around(step, effect) {
      const result = effect();
      if (step.startsWith(swap) && (result as unknown) === false) lost();
      return result;
    },
  };
}

interface Race {
  readonly disk: Disk;
  readonly acknowledged: Acknowledged;
  readonly next: () => number;
  readonly open: () => Promise<Sequencer>;
  readonly lost: () => number;
}

function newRace(place: Place, seed: number): Race {
  const disk = emptyDisk();
  const next = random(seed);
  let lost = 0;
  const home = place.home(
    disk,
    shuffled(place, next, () => lost++),
  );
  return { disk, acknowledged: new Acknowledged(disk), next, open: () => openSequencer(home, null), lost: () => lost };
}

for (const place of PLACES) {
  const races = RACES / place.sample;
  test(`sequencers that race with different documents ${place.where} never fork and lose nothing (${races} lost races)`, async () => {
    for (let seed = 1, lost = 0; lost < races; seed++) {
      const { disk, acknowledged, next, open, lost: lostHere } = newRace(place, seed);
      const sequencers = await Promise.all(Array.from({ length: 2 + (seed % 7) }, open));
      for (let round = 0; round < 20; round++)
        await Promise.all(
          sequencers.flatMap((sequencer, who) =>
            Array.from({ length: Math.floor(next() * 3) }, (_, at) => acknowledged.append(sequencer, `${seed}-${round}-${who}-${at}`)),
          ),
        ).catch((error: unknown) => {
          throw new Error(`seed ${seed}, round ${round}`, { cause: error });
        });
      assert.equal(requireSound(disk, acknowledged.indexes).size, acknowledged.indexes.size, 'nothing but what was acknowledged');
      lost += lostHere();
    }
  });

  test(`sequencers that race with the same documents ${place.where} give each exactly one index`, async () => {
    for (let seed = 1; seed < 60 / place.sample; seed++) {
      const { disk, acknowledged, open } = newRace(place, seed);
      const sequencers = await Promise.all([open(), open(), open()]);
      for (let round = 0; round < 4; round++)
        await Promise.all(sequencers.map((sequencer) => acknowledged.append(sequencer, `same-${round}`))).catch((error: unknown) => {
          throw new Error(`seed ${seed}, round ${round}`, { cause: error });
        });
      assert.equal(requireSound(disk, acknowledged.indexes).size, 4);
    }
  });
}
