/**
 * One replica at a time does what one is enough for. This is to save work, not to be safe: every stage may run on all of
 * them at once. A holder that dies is followed after a few seconds.
 */
import type { Farm } from '../farm.ts';

const TERM = 10_000;

/** @returns whether this replica holds the duty for the next seconds */
export async function lead(farm: Farm, duty: string): Promise<boolean> {
  if (farm.database.kind === 'sqlite') return true;
  const now = farm.now();
  const mine = { holder: farm.replica, until: now + TERM };
  return farm.database.write(async (tx) => {
    const held = await farm.database.lock(tx.selectFrom('leaders').selectAll().where('duty', '=', duty), 'skip').executeTakeFirst();
    if (held !== undefined && held.holder !== farm.replica && held.until > now) return false;
    const { numInsertedOrUpdatedRows } = await tx
      .insertInto('leaders')
      .values({ duty, ...mine })
      .onConflict((conflict) =>
        conflict
          .column('duty')
          .doUpdateSet(mine)
          .where((where) => where.or([where('leaders.holder', '=', farm.replica), where('leaders.until', '<=', now)])),
      )
      .executeTakeFirst();
    return Number(numInsertedOrUpdatedRows) > 0;
  });
}
