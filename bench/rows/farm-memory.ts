/** Resident memory of a farm that has nothing to do: API, reconciler, log, witness and two builders in one process. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type FigureRow, figureRow, type Meter, meterSideBySide } from '../figures.ts';
import type { Checkpoint } from '../measure.ts';
import type { Place } from '../place.ts';
import { startFarm } from '../running-farm.ts';

/** Milliseconds: whatever is done once after the start is over. */
const SETTLES = 60_000;

export async function farmMemory(place: Place, runs: number, checkpoint: Checkpoint): Promise<FigureRow[]> {
  const folder = place.folder('farm-memory');
  const take = async (run: number): Promise<Record<string, number>> => {
    const farm = await startFarm({ folder: place.folder(`farm-memory/${run}`), init: ['--name', 'bench'] });
    try {
      const started = farm.memory().resident;
      await sleep(run === 0 ? 1000 : SETTLES);
      return { ready: farm.startedIn / 1000, started: started / MEBI, settled: farm.memory().resident / MEBI };
    } finally {
      await farm.stop();
    }
  };
  const meters: Meter[] = [{ name: 'API, log, witness and two builders in one process', take }];
  try {
    const metered = await meterSideBySide(meters, runs, checkpoint);
    return [
      figureRow('A new farm: from its start until it serves', 's', metered, 'ready'),
      figureRow('… resident memory then', 'MiB', metered, 'started'),
      figureRow('… after a minute of idling', 'MiB', metered, 'settled'),
    ];
  } finally {
    place.drop(folder);
  }
}

const MEBI = 2 ** 20;
