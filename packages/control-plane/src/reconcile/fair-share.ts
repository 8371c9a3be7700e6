/**
 * Who is next: the most urgent; among those as urgent, whoever has had least of the farm for their share (start-time fair
 * queueing); among one submitter's, the oldest. Somebody who was away gets no credit for it, and nobody is charged for what
 * could not be given to builders.
 */
import type { Writes } from '../database/database.ts';
import type { Farm } from '../farm.ts';
import type { Job } from '../jobs/find-job.ts';

/** Submitters with something in the queue that are looked at; a farm with more serves them as they come. */
const MOST_SUBMITTERS = 1000;
const CLOCK = 'virtual-time';

interface Line {
  readonly submitter: string;
  readonly share: number;
  used: number;
  readonly jobs: Job[];
  charged: boolean;
}

export interface Queue {
  /** The next, held until the end of the transaction; null when nobody is left. */
  next(): Job | null;
  /** That one went to builders. */
  charge(job: Job): void;
  /** Keeps what was charged. */
  keep(): Promise<void>;
}

/** @param depth jobs of each submitter that are looked at */
export async function openQueue(farm: Farm, tx: Writes, depth: number): Promise<Queue> {
  const shares = new Map((await tx.selectFrom('shares').selectAll().execute()).map((one) => [one.submitter, one]));
  const clock = Number((await tx.selectFrom('facts').select('value').where('name', '=', CLOCK).executeTakeFirst())?.value ?? '0');
  const lines = new Map<string, Line>();
  for (const submitter of await submittersWaiting(tx)) {
    const share = shares.get(submitter)?.share ?? 1;
    const jobs = await farm.database
      .lock(
        tx
          .selectFrom('jobs')
          .selectAll()
          .where('state', '=', 'queued')
          .where('ready', '=', 1)
          .where('submitter', '=', submitter)
          .orderBy('rank')
          .limit(depth),
        'skip',
      )
      .execute();
    lines.set(submitter, { submitter, share, used: Math.max(shares.get(submitter)?.used ?? 0, clock * share), jobs, charged: false });
  }
  let time = clock;
  return {
    next: () => best(lines.values())?.jobs.shift() ?? null,
    charge(job) {
      const line = lines.get(job.submitter);
      if (line === undefined) return;
      time = Math.max(time, line.used / line.share);
      line.used++;
      line.charged = true;
    },
    async keep() {
      const charged = [...lines.values()].filter((line) => line.charged);
      if (charged.length === 0) return;
      for (const { submitter, used, share } of charged)
        await tx
          .insertInto('shares')
          .values({ submitter, share, used })
          .onConflict((conflict) => conflict.column('submitter').doUpdateSet({ used }))
          .execute();
      await tx
        .insertInto('facts')
        .values({ name: CLOCK, value: String(time) })
        .onConflict((conflict) => conflict.column('name').doUpdateSet({ value: String(time) }))
        .execute();
    },
  };
}

function best(lines: Iterable<Line>): Line | undefined {
  let found: Line | undefined;
  for (const line of lines) {
    const [job] = line.jobs;
    if (job === undefined) continue;
    const [other] = found?.jobs ?? [];
    if (
      found === undefined ||
      other === undefined ||
      job.priority > other.priority ||
      (job.priority === other.priority && line.used / line.share < found.used / found.share)
    )
      found = line;
  }
  return found;
}

/** From one to the next by the index, without reading the queue. */
async function submittersWaiting(tx: Writes): Promise<string[]> {
  const found: string[] = [];
  for (let last = ''; found.length < MOST_SUBMITTERS; ) {
    const next = await tx
      .selectFrom('jobs')
      .select('submitter')
      .where('state', '=', 'queued')
      .where('ready', '=', 1)
      .where('submitter', '>', last)
      .orderBy('submitter')
      .limit(1)
      .executeTakeFirst();
    if (next === undefined) break;
    found.push(next.submitter);
    last = next.submitter;
  }
  return found;
}
