/** What an attempt has printed: from the database while it is new, from the content store afterwards. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { transcriptKey } from '../content/keys.ts';
import type { Farm } from '../farm.ts';

/** Bytes that are read at once. */
const PAGE = 1 << 20;

export interface TranscriptPart {
  readonly start: number;
  readonly bytes: Uint8Array;
}

export interface TranscriptState {
  readonly bytes: number;
  /** Whether more can come. */
  readonly ended: boolean;
  readonly job: string;
}

/** @throws LockstepError NOT_FOUND */
export async function transcriptState(farm: Farm, attempt: number): Promise<TranscriptState> {
  const row = await farm.database.reads
    .selectFrom('attempts')
    .select(['job', 'state', 'transcript_bytes'])
    .where('attempt', '=', attempt)
    .executeTakeFirst();
  if (row === undefined) throw new LockstepError('NOT_FOUND', `There is no attempt ${attempt}`, 'See "lockstep farm why JOB".');
  return { bytes: Number(row.transcript_bytes), ended: row.state !== 'leased', job: row.job };
}

/** At most a page from `from` on; nothing when there is no more yet. */
export async function readTranscript(farm: Farm, attempt: number, from: number): Promise<TranscriptPart | null> {
  const { reads } = farm.database;
  const rows = await reads
    .selectFrom('transcript_chunks')
    .select(['start', 'bytes'])
    .where('attempt', '=', attempt)
    .where('start', '>=', await chunkWith(farm, attempt, from))
    .orderBy('start')
    .limit(64)
    .execute();
  const [first] = rows;
  if (first === undefined) return readKept(farm, attempt, from);
  const joined = Buffer.concat(rows.map((row) => Buffer.from(row.bytes))).subarray(
    from - Number(first.start),
    from - Number(first.start) + PAGE,
  );
  return joined.length === 0 ? null : { start: from, bytes: joined };
}

/** Start of the chunk that has this offset. */
async function chunkWith(farm: Farm, attempt: number, from: number): Promise<number> {
  const row = await farm.database.reads
    .selectFrom('transcript_chunks')
    .select('start')
    .where('attempt', '=', attempt)
    .where('start', '<=', from)
    .orderBy('start', 'desc')
    .limit(1)
    .executeTakeFirst();
  return Number(row?.start ?? from);
}

async function readKept(farm: Farm, attempt: number, from: number): Promise<TranscriptPart | null> {
  const row = await farm.database.reads
    .selectFrom('attempts')
    .select(['attempt', 'leased_at'])
    .where('attempt', '=', attempt)
    .executeTakeFirst();
  const stream = row === undefined ? null : await farm.objects.stream(transcriptKey(row), { start: from, length: PAGE });
  if (stream === null) return null;
  const parts: Uint8Array[] = [];
  for await (const part of stream as AsyncIterable<Uint8Array>) parts.push(part);
  const bytes = Buffer.concat(parts);
  return bytes.length === 0 ? null : { start: from, bytes };
}

/** Moves the chunks of attempts that have ended into one object each. @returns how many */
export async function keepTranscripts(farm: Farm, endedBefore: number): Promise<number> {
  const { reads } = farm.database;
  const ended = await reads
    .selectFrom('attempts')
    .select(['attempt', 'leased_at'])
    .where('state', 'in', ['revealed', 'failed', 'expired', 'cancelled', 'superseded', 'repeated', 'unstable'])
    .where('transcript', 'is', null)
    .where('transcript_bytes', '>', 0)
    .where('ended_at', '<', endedBefore)
    .limit(100)
    .execute();
  for (const one of ended) {
    const { attempt } = one;
    const chunks = await reads.selectFrom('transcript_chunks').select('bytes').where('attempt', '=', attempt).orderBy('start').execute();
    await farm.objects.put(transcriptKey(one), Buffer.concat(chunks.map((one) => Buffer.from(one.bytes))));
    await farm.database.write(async (tx) => {
      await tx
        .updateTable('attempts')
        .set({ transcript: transcriptKey(one) })
        .where('attempt', '=', attempt)
        .execute();
      await tx.deleteFrom('transcript_chunks').where('attempt', '=', attempt).execute();
    });
  }
  return ended.length;
}
