/**
 * The reconciler: level-triggered. Each stage goes from the facts that there are to the next that are missing; events only
 * make it prompt, a sweep makes it certain. Safe on every replica at once.
 *
 *   expire → dispatch → advance        what needs the database alone
 *   record                             what waits for the log and its witnesses
 */
import type { Farm } from '../farm.ts';
import { expireLeases, findAbandoned } from '../leases/keep.ts';
import { catchUp } from '../reindex/reindex.ts';
import { advanceDue } from './advance.ts';
import { dispatch } from './dispatch.ts';
import { lead } from './leader.ts';
import type { KnownCapabilities } from './live-builders.ts';
import { recorder } from './record.ts';
import { stageLoop } from './stage-loop.ts';
import { tidy } from './tidy.ts';

export interface Reconciler {
  close(): Promise<void>;
}

/** Milliseconds. */
const TIDY_EVERY = 30_000;

export function startReconciler(farm: Farm): Reconciler {
  // By a clock that nobody sets: after a time in which nobody could reach the farm, silence and lateness say nothing.
  const quietUntil = performance.now() + farm.limits.leaseSeconds * 1000;
  const isQuiet = (): boolean => performance.now() < quietUntil;
  const recordNext = recorder(farm);
  const capabilities: KnownCapabilities = new Map();
  let tidied = Number.NEGATIVE_INFINITY;
  // What this database missed, it learns from the log before it says anything of its own.
  let learning: Promise<unknown> | null = null;
  const learn = (): Promise<unknown> => {
    learning ??= catchUp(farm).catch((error: unknown) => {
      learning = null;
      throw error;
    });
    return learning;
  };
  const loops = [
    stageLoop(farm, 'begin', learn, {
      expire: async () => (isQuiet() ? 0 : (await expireLeases(farm)) + (await findAbandoned(farm))),
      dispatch: () => dispatch(farm, capabilities),
      advance: () => advanceDue(farm, isQuiet()),
      async tidy() {
        if (performance.now() - tidied < TIDY_EVERY) return 0;
        tidied = performance.now();
        return tidy(farm);
      },
    }),
    stageLoop(farm, 'log', async () => farm.log.ready().then(learn), {
      record: async () => ((await lead(farm, 'record')) ? recordNext() : 0),
    }),
  ];
  return {
    async close() {
      await Promise.all(loops.map((one) => one.close()));
    },
  };
}
