/** Gives a builder work: the most urgent task that was offered to it. Each lease has a token and a number that only rises. */
import { createHash, randomBytes } from 'node:crypto';
import type { Lease } from '@lockstep/api/routes/builders';
import type { Needs } from '../jobs/needs.ts';
import type { Database, Writes } from '../database/database.ts';
import { CHANGED, type Farm } from '../farm.ts';

/** A builder as its certificate and the database know it. */
export interface BuilderIdentity {
  readonly name: string;
  /** SHA-256 of the transport key's SubjectPublicKeyInfo. */
  readonly transportKey: string;
  /** Id of the attestation key. */
  readonly attestationKey: string;
  /** Whether it is given work: not while it drains. */
  readonly isActive: boolean;
  /** Milliseconds since 1970, when it showed itself with this request; null: never before. */
  readonly lastSeen: number | null;
}

export function hashToken(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

export function newToken(): string {
  return randomBytes(32).toString('base64url');
}

/** @param free builds that it could begin now */
export async function leaseTasks(farm: Farm, builder: BuilderIdentity, free: number): Promise<Lease[]> {
  if (free === 0) return [];
  // Most that ask find nothing: they need no transaction.
  if (!(await mayFind(farm.database.reads, builder.name))) return [];
  const given = await farm.database.write(async (tx) => {
    const leases: Lease[] = [];
    while (leases.length < free) {
      const lease = await leaseOne(farm, tx, builder);
      if (lease === null) break;
      leases.push(lease);
    }
    return leases;
  });
  for (const { job } of given) farm.database.notify(CHANGED.job(job));
  return given;
}

/** One look at an index; what it finds may still be taken, or for later. */
async function mayFind(db: Database['reads'], builder: string): Promise<boolean> {
  const row = await db
    .selectFrom('tasks')
    .select('job')
    .where('builder', '=', builder)
    .where('state', 'in', ['offered', 'repeat'])
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}

function offered(db: Writes | Database['reads'], builder: string, now: number) {
  return db
    .selectFrom('tasks')
    .innerJoin('jobs', (join) => join.onRef('jobs.job', '=', 'tasks.job').onRef('jobs.round', '=', 'tasks.round'))
    .select(['tasks.job', 'tasks.round', 'tasks.ambient', 'jobs.opening', 'jobs.needs', 'jobs.deadline'])
    .where('tasks.builder', '=', builder)
    .where('tasks.state', '=', 'offered')
    .where('tasks.not_before', '<=', now)
    .where('jobs.state', '=', 'building')
    .whereRef('jobs.taken', '<', 'jobs.quorum')
    .orderBy('tasks.rank')
    .limit(1);
}

/** Repetitions for disputes: after everything that somebody waits for. */
function repeats(db: Writes | Database['reads'], builder: string) {
  return db
    .selectFrom('tasks')
    .innerJoin('jobs', (join) => join.onRef('jobs.job', '=', 'tasks.job').onRef('jobs.round', '=', 'tasks.round'))
    .select(['tasks.job', 'tasks.round', 'tasks.ambient', 'jobs.opening', 'jobs.needs', 'jobs.deadline'])
    .where('tasks.builder', '=', builder)
    .where('tasks.state', '=', 'repeat')
    .where('jobs.state', '=', 'disputed')
    .orderBy('tasks.rank')
    .limit(1);
}

async function leaseOne(farm: Farm, tx: Writes, builder: BuilderIdentity): Promise<Lease | null> {
  const now = farm.now();
  const build = await farm.database.lock(offered(tx, builder.name, now), 'skip').executeTakeFirst();
  const task = build ?? (await farm.database.lock(repeats(tx, builder.name), 'skip').executeTakeFirst());
  if (task === undefined) return null;
  const purpose = build === undefined ? 'repeat' : 'build';
  const token = newToken();
  const expiresAt = now + farm.limits.leaseSeconds * 1000;
  const { attempt } = await tx
    .insertInto('attempts')
    .values({
      job: task.job,
      round: task.round,
      builder: builder.name,
      state: 'leased',
      token: hashToken(token),
      transport_key: builder.transportKey,
      leased_at: now,
      expires_at: expiresAt,
      ended_at: null,
      failure: null,
      statement: null,
      wanted: null,
      transcript_bytes: 0,
      transcript: null,
    })
    .returning('attempt')
    .executeTakeFirstOrThrow();
  await tx
    .updateTable('tasks')
    .set({ state: purpose === 'build' ? 'leased' : 'repeating', attempt })
    .where('job', '=', task.job)
    .where('round', '=', task.round)
    .where('builder', '=', builder.name)
    .execute();
  if (purpose === 'build')
    await tx
      .updateTable('jobs')
      .set((expression) => ({
        taken: expression('taken', '+', 1),
        // Its time begins when it is begun, not when it was offered.
        deadline: Math.max(Number(task.deadline), now + ((JSON.parse(task.needs) as Needs).seconds + farm.limits.prepareSeconds) * 1000),
        updated_at: now,
        reason: `${builder.name} builds it`,
      }))
      .where('job', '=', task.job)
      .execute();
  farm.metrics.leases.inc({ outcome: 'leased' });
  return {
    attempt,
    token,
    job: task.job,
    round: task.round,
    purpose,
    opening: task.opening,
    ambient: JSON.parse(task.ambient) as Lease['ambient'],
    expiresAt,
  };
}
