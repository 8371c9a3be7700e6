/**
 * Transactions that wait at the same time are committed together: one fsync for all of them. Each runs within a savepoint
 * of its own, so that one that fails takes nothing of the others back; nobody is answered before the commit.
 */
import { type Kysely, sql, type Transaction } from 'kysely';
import type { Tables } from './schema.ts';

/** So that the first of a group does not wait long for the last. */
const MOST = 64;

interface Waiting {
  readonly work: (tx: Transaction<Tables>) => Promise<unknown>;
  readonly done: (value: unknown) => void;
  readonly failed: (error: unknown) => void;
}

export interface GroupCommit {
  write<T>(work: (tx: Transaction<Tables>) => Promise<T>): Promise<T>;
  /** Waits for what is under way. */
  idle(): Promise<void>;
}

export function groupCommit(kysely: Kysely<Tables>): GroupCommit {
  const waiting: Waiting[] = [];
  let running: Promise<void> | null = null;

  const runGroup = async (group: readonly Waiting[]): Promise<void> => {
    const answers: (() => void)[] = [];
    try {
      await kysely.transaction().execute(async (tx) => {
        for (const one of group) answers.push(await withinSavepoint(tx, one));
      });
    } catch (error) {
      for (const { failed } of group) failed(error);
      return;
    }
    for (const answer of answers) answer();
  };
  const run = async (): Promise<void> => {
    while (waiting.length > 0) {
      await runGroup(waiting.splice(0, MOST));
      // Whoever was answered may have more to say, and joins the next group.
      await new Promise((resolve) => setImmediate(resolve));
    }
    running = null;
  };
  return {
    write: <T>(work: (tx: Transaction<Tables>) => Promise<T>) =>
      new Promise<T>((done, failed) => {
        waiting.push({ work, done: done as (value: unknown) => void, failed });
        running ??= run();
      }),
    async idle() {
      await running;
    },
  };
}

async function withinSavepoint(tx: Transaction<Tables>, { work, done, failed }: Waiting): Promise<() => void> {
  await sql`savepoint one`.execute(tx);
  try {
    const value = await work(tx);
    await sql`release savepoint one`.execute(tx);
    return () => done(value);
  } catch (error) {
    await sql`rollback to savepoint one`.execute(tx);
    await sql`release savepoint one`.execute(tx);
    return () => failed(error);
  }
}
