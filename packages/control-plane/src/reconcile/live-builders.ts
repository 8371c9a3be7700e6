/** Builders that could be given work now: joined, listed in today's policy, not draining, heard of lately. */
import { type Capabilities, capabilities } from '@lockstep/api/routes/builders';
import type { Policy } from '@lockstep/protocol/policy/policy';
import type { Database, Writes } from '../database/database.ts';
import type { Farm } from '../farm.ts';
import type { LiveBuilder } from './roster.ts';

/** Capabilities by their text: they seldom change, and there are many. */
export type KnownCapabilities = Map<string, Capabilities | null>;

/** Texts that are remembered. */
const REMEMBERED = 10_000;

export async function liveBuilders(
  farm: Farm,
  db: Database['reads'] | Writes,
  policy: Policy,
  known: KnownCapabilities = new Map(),
): Promise<LiveBuilder[]> {
  const listed = new Map<string, Policy['builders'][number]>(policy.builders.map((one) => [one.key.id, one]));
  const rows = await db
    .selectFrom('builders')
    .select(['name', 'attestation_key', 'capabilities'])
    .where('state', '=', 'active')
    .where('last_seen', '>=', farm.now() - farm.limits.aliveSeconds * 1000)
    .execute();
  const busy = await db
    .selectFrom('tasks')
    .select((expression) => ['builder', expression.fn.countAll<number>().as('count')])
    .where('state', 'in', ['offered', 'leased'])
    .groupBy('builder')
    .execute();
  const backlog = new Map(busy.map((one) => [one.builder, Number(one.count)]));
  return rows.flatMap((row) => {
    const of = listed.get(row.attestation_key);
    const can = row.capabilities === null ? null : readCapabilities(row.capabilities, known);
    return of === undefined || can === null ? [] : [{ name: row.name, listed: of, can, backlog: backlog.get(row.name) ?? 0 }];
  });
}

function readCapabilities(text: string, known: KnownCapabilities): Capabilities | null {
  const before = known.get(text);
  if (before !== undefined) return before;
  const parsed = capabilities.safeParse(JSON.parse(text));
  const can = parsed.success ? parsed.data : null;
  if (known.size >= REMEMBERED) known.clear();
  known.set(text, can);
  return can;
}
