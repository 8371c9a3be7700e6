/**
 * Who may speak for an attempt: whoever shows its token, over a connection with the key that leased it, while the attempt
 * still stands. Everything that a builder writes goes through here, in the transaction that writes.
 */
import { timingSafeEqual } from 'node:crypto';
import type { Selectable } from 'kysely';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Database, Writes } from '../database/database.ts';
import type { Attempts } from '../database/schema.ts';
import type { Job } from '../jobs/find-job.ts';
import { type BuilderIdentity, hashToken } from './lease.ts';

export type Attempt = Selectable<Attempts>;

/** What a builder shows. */
export interface LeaseProof {
  readonly builder: BuilderIdentity;
  readonly attempt: number;
  readonly token: string;
}

export type AttemptState =
  | 'leased'
  | 'committed'
  | 'revealed'
  | 'failed'
  | 'expired'
  | 'cancelled'
  | 'superseded'
  | 'repeated'
  | 'unstable';

/** Held until the end of the transaction; for what changes nothing but the attempt. @throws LockstepError LEASE_STALE */
export async function heldAttempt(database: Database, tx: Writes, proof: LeaseProof, states: readonly AttemptState[]): Promise<Attempt> {
  const found = await database.lock(tx.selectFrom('attempts').selectAll().where('attempt', '=', proof.attempt), 'wait').executeTakeFirst();
  return requireHeld(found, proof, states);
}

/**
 * With its job. The job's row is always held before those of its attempts and tasks, by everybody: else two that want both
 * wait for one another.
 */
export async function heldWithJob(
  database: Database,
  tx: Writes,
  proof: LeaseProof,
  states: readonly AttemptState[],
): Promise<{ attempt: Attempt; job: Job }> {
  const of = await tx.selectFrom('attempts').select('job').where('attempt', '=', proof.attempt).executeTakeFirst();
  const job = await database
    .lock(
      tx
        .selectFrom('jobs')
        .selectAll()
        .where('job', '=', of?.job ?? ''),
      'wait',
    )
    .executeTakeFirst();
  const attempt = await heldAttempt(database, tx, proof, states);
  if (job === undefined) throw stale(proof.attempt, 'its job is gone');
  return { attempt, job };
}

/** The same for reading only. */
export async function readHeldAttempt(database: Database, proof: LeaseProof, states: readonly AttemptState[]): Promise<Attempt> {
  const found = await database.reads.selectFrom('attempts').selectAll().where('attempt', '=', proof.attempt).executeTakeFirst();
  return requireHeld(found, proof, states);
}

function requireHeld(found: Attempt | undefined, proof: LeaseProof, states: readonly AttemptState[]): Attempt {
  // One answer for whatever is wrong with the proof: it tells nobody which attempts there are.
  if (
    found === undefined ||
    found.builder !== proof.builder.name ||
    found.transport_key !== proof.builder.transportKey ||
    !sameToken(found.token, proof.token)
  )
    throw stale(proof.attempt, 'it is not yours');
  if (!states.includes(found.state as AttemptState)) throw stale(proof.attempt, `it is ${found.state}`);
  return found;
}

function sameToken(hash: string, token: string): boolean {
  return timingSafeEqual(Buffer.from(hash, 'hex'), Buffer.from(hashToken(token), 'hex'));
}

export function stale(attempt: number, why: string): LockstepError {
  return new LockstepError(
    'LEASE_STALE',
    `Attempt ${attempt} cannot be written to: ${why}`,
    'Keep the result: if the same work is leased to you again, it can be given at once. Ask for other work.',
  );
}
