/** Builders that wait for work: of a thousand only those are woken for which there is some. */
import type { Farm } from '../farm.ts';

/** Taken before it is looked whether there is work, so that nothing that comes in meanwhile is missed. */
export interface Ticket {
  /** Resolves when there may be something, or after `milliseconds`, or when the builder has gone. */
  wait(milliseconds: number, signal: AbortSignal): Promise<void>;
  drop(): void;
}

export interface LeaseWaiters {
  ticket(builder: string): Ticket;
  /** Whether nobody should wait any more. */
  closed(): boolean;
  close(): void;
}

/** Milliseconds: changes that come together are looked at together. */
const TOGETHER = 3;
/** Offers whose time comes without anything happening, and events that were lost. */
const SWEEP = 2000;

export function leaseWaiters(farm: Farm): LeaseWaiters {
  const waiting = new Map<string, Set<() => void>>();
  let timer: NodeJS.Timeout | null = null;
  let isClosed = false;

  const look = async (): Promise<void> => {
    if (waiting.size === 0) return;
    const { reads } = farm.database;
    const offered = await reads
      .selectFrom('tasks')
      .innerJoin('jobs', (join) => join.onRef('jobs.job', '=', 'tasks.job').onRef('jobs.round', '=', 'tasks.round'))
      .select('tasks.builder')
      .distinct()
      .where('tasks.not_before', '<=', farm.now())
      .where((where) =>
        where.or([
          where.and([
            where('tasks.state', '=', 'offered'),
            where('jobs.state', '=', 'building'),
            where('jobs.taken', '<', where.ref('jobs.quorum')),
          ]),
          where.and([where('tasks.state', '=', 'repeat'), where('jobs.state', '=', 'disputed')]),
        ]),
      )
      .execute();
    const wanted = await reads
      .selectFrom('attempts')
      .innerJoin('jobs', 'jobs.job', 'attempts.job')
      .select('attempts.builder')
      .distinct()
      .where('jobs.state', '=', 'revealing')
      .where('attempts.state', 'in', ['committed', 'revealed'])
      .execute();
    for (const { builder } of [...offered, ...wanted]) for (const wake of [...(waiting.get(builder) ?? [])]) wake();
  };
  const lookSafely = (): void => {
    timer = null;
    look().catch((error: unknown) =>
      farm.journal('warn', 'waiting builders could not be looked at', { error: error instanceof Error ? error.message : String(error) }),
    );
  };
  const stop = farm.database.onNotify((what) => {
    if (what === 'jobs') timer ??= setTimeout(lookSafely, TOGETHER);
  });
  const sweep = setInterval(lookSafely, SWEEP);
  sweep.unref();
  return {
    ticket(builder) {
      let woken = isClosed;
      let resolveWait: () => void = () => undefined;
      const wake = (): void => {
        woken = true;
        resolveWait();
      };
      waiting.set(builder, (waiting.get(builder) ?? new Set()).add(wake));
      const drop = (): void => {
        const all = waiting.get(builder);
        all?.delete(wake);
        if (all?.size === 0) waiting.delete(builder);
      };
      return {
        drop,
        async wait(milliseconds, signal) {
          if (!woken && !signal.aborted)
            await new Promise<void>((resolve) => {
              const limit = setTimeout(resolve, milliseconds);
              resolveWait = () => {
                clearTimeout(limit);
                resolve();
              };
              signal.addEventListener('abort', () => resolveWait(), { once: true });
            });
          drop();
        },
      };
    },
    closed: () => isClosed,
    close() {
      isClosed = true;
      stop();
      clearInterval(sweep);
      if (timer !== null) clearTimeout(timer);
      for (const all of [...waiting.values()]) for (const wake of [...all]) wake();
    },
  };
}
