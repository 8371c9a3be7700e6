/** The clock of the farm jumps while work is under way; nobody else's does. */
import { setTimeout as delay } from 'node:timers/promises';
import { auditor } from './invariants.ts';
import type { Scenario } from './scenario.ts';
import { jobsNamed } from './storage-faults.ts';
import { makeWorld } from './world.ts';

const HOUR = 3_600_000;

const moved = async (root: string, ahead: number): Promise<void> => {
  const world = await makeWorld(root);
  try {
    const audit = auditor(world);
    for (const one of jobsNamed('before-jump', 4, 2)) await world.submit(one);
    await delay(700);
    await world.farm.say({ order: 'clock', ahead });
    for (const one of jobsNamed('after-jump', 3)) await world.submit(one);
    await audit.check();
    // What is silent has to be noticed at the new time too.
    const silent = world.builders.get('builder-1')?.role;
    await silent?.arm('lease', 'after');
    for (const one of jobsNamed('silent', 1)) await world.submit(one);
    await silent?.ended(20_000);
    await silent?.start();
    await audit.check();
  } finally {
    await world.close();
  }
};

export const CLOCK_FAULTS: readonly Scenario[] = [
  { name: 'clock moved a day ahead', run: (root) => moved(root, 24 * HOUR) },
  {
    name: 'clock moved an hour back',
    run: (root) => moved(root, -HOUR),
  },
];
