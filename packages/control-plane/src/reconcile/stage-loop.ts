/** Runs stages one after the other until none has anything left to do; again when something changed, and every few seconds. */
import type { Farm } from '../farm.ts';
import { errorFields } from '../observe/journal.ts';

export interface StageLoop {
  close(): Promise<void>;
}

export type Stages = Readonly<Record<string, () => Promise<number>>>;

/** Milliseconds: what no event told of is found after so long. */
const SWEEP = 2000;
/** A stage that failed is tried again after this; the others go on meanwhile. */
const PAUSE = 1000;
/** What changes while a pass runs is looked at together. */
const GAP = 8;

/** @param first has to succeed before the stages run */
export function stageLoop(farm: Farm, name: string, first: () => Promise<unknown>, stages: Stages): StageLoop {
  const retryAt = new Map<string, number>();
  const stopping = new AbortController();
  let asked = true;
  let wake: () => void = () => undefined;

  const run = async (stage: string, work: () => Promise<number>): Promise<number> => {
    if ((retryAt.get(stage) ?? 0) > performance.now()) return 0;
    const end = farm.metrics.stageSeconds.startTimer({ stage });
    try {
      const done = await work();
      farm.troubles.clear(stage);
      return done;
    } catch (error) {
      farm.troubles.note(stage, error);
      farm.metrics.stageErrors.inc({ stage });
      farm.journal('error', `the stage "${stage}" failed and is tried again`, errorFields(error));
      retryAt.set(stage, performance.now() + PAUSE);
      return 0;
    } finally {
      end();
    }
  };
  const pass = async (): Promise<number> => {
    let done = 0;
    for (const [stage, work] of Object.entries(stages)) if (!stopping.signal.aborted) done += await run(stage, work);
    return done;
  };
  const sleep = (milliseconds: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  const begin = async (): Promise<boolean> => {
    try {
      await first();
      farm.troubles.clear(name);
      return true;
    } catch (error) {
      farm.troubles.note(name, error);
      farm.metrics.stageErrors.inc({ stage: name });
      farm.journal('error', `the reconciler cannot begin yet: ${name}`, errorFields(error));
      return false;
    }
  };
  const loop = async (): Promise<void> => {
    while (!stopping.signal.aborted && !(await begin())) await sleep(PAUSE);
    while (!stopping.signal.aborted) {
      asked = false;
      const done = await pass();
      if (stopping.signal.aborted) break;
      await new Promise((resolve) => setTimeout(resolve, GAP));
      if (done === 0 && !asked) await sleep(SWEEP);
    }
  };
  const stop = farm.database.onNotify((what) => {
    if (what !== 'jobs') return;
    asked = true;
    wake();
  });
  const running = loop();
  return {
    async close() {
      stopping.abort();
      stop();
      wake();
      await running;
    },
  };
}
