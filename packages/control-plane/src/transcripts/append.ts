/** Live transcripts: raw bytes in chunks by offset, kept as they came; whoever shows them makes them harmless. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { CHANGED, type Farm } from '../farm.ts';
import { heldAttempt, type LeaseProof } from '../leases/held.ts';

/** The silo bounds what one build prints; this bounds what a dishonest builder sends. */
const MAX_TRANSCRIPT = 512 << 20;

/** @returns the offset that is wanted next. @throws LockstepError LEASE_STALE, REQUEST_INVALID */
export async function appendTranscript(farm: Farm, proof: LeaseProof, offset: number, bytes: Uint8Array): Promise<number> {
  const next = await farm.database.write(async (tx) => {
    const attempt = await heldAttempt(farm.database, tx, proof, ['leased']);
    const have = Number(attempt.transcript_bytes);
    // Said before, and the answer was lost.
    if (offset < have || bytes.length === 0) return have;
    if (offset > have)
      throw new LockstepError('REQUEST_INVALID', `The transcript has ${have} bytes; ${offset} comes later`, `Go on at ${have}.`);
    if (have + bytes.length > MAX_TRANSCRIPT)
      throw new LockstepError('REQUEST_INVALID', 'The transcript is larger than 512 MiB', 'Print less, or set resources.transcript_mb.');
    await tx.insertInto('transcript_chunks').values({ attempt: attempt.attempt, start: have, bytes }).execute();
    await tx
      .updateTable('attempts')
      .set({ transcript_bytes: have + bytes.length })
      .where('attempt', '=', attempt.attempt)
      .execute();
    return have + bytes.length;
  });
  farm.database.notify(CHANGED.transcript(proof.attempt));
  return next;
}
