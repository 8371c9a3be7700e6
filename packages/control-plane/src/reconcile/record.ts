/** From documents that were accepted to entries of the log, in the order in which they were accepted. */
import { OUTCOME } from '@lockstep/protocol/commitment/documents';
import { publicKeyFromSpki } from '@lockstep/protocol/key/p256';
import { CHANGED, type Farm } from '../farm.ts';

const MOST_AT_ONCE = 1000;
const MOST_BYTES = 32 << 20;

/** Milliseconds: documents of other jobs are gathered for as long as an append takes, so that a busy log takes half of the time at most. */
const LONGEST_GATHER = 200;

/** Records, and gathers between two groups. */
export function recorder(farm: Farm): () => Promise<number> {
  let took = 0;
  let ended = 0;
  return async () => {
    const left = ended + Math.min(LONGEST_GATHER, took) - performance.now();
    if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
    const started = performance.now();
    const done = await record(farm);
    ended = performance.now();
    took = done === 0 ? 0 : ended - started;
    return done;
  };
}

/** @returns how many were logged. @throws whatever the log throws: nothing is marked then, and the same is tried again */
export async function record(farm: Farm): Promise<number> {
  const { reads } = farm.database;
  const rows = await reads
    .selectFrom('documents')
    .selectAll()
    .where('log_index', 'is', null)
    .orderBy('document')
    .limit(MOST_AT_ONCE)
    .execute();
  let bytes = 0;
  const group = rows.filter((row, at) => {
    bytes += row.payload?.length ?? 0;
    return row.payload !== null && (at === 0 || bytes <= MOST_BYTES);
  });
  if (group.length === 0) return 0;
  const started = farm.now();
  const indexes = await farm.log.append(
    group.map((row) => ({
      payloadType: row.payload_type,
      payload: new Uint8Array(row.payload ?? []),
      signature: new Uint8Array(row.signature),
      signer: publicKeyFromSpki(new Uint8Array(row.key)),
    })),
  );
  farm.metrics.logAppendSeconds.observe((farm.now() - started) / 1000);
  await farm.database.write(async (tx) => {
    for (const [at, row] of group.entries()) {
      const index = indexes[at];
      if (index === undefined) continue;
      await tx.updateTable('documents').set({ log_index: index }).where('document', '=', row.document).execute();
      if (row.payload_type === OUTCOME.payloadType)
        await tx.updateTable('jobs').set({ outcome_index: index }).where('job', '=', row.job).execute();
    }
    await tx
      .updateTable('jobs')
      .set({ due: 1 })
      .where('job', 'in', [...new Set(group.map((row) => row.job))])
      .execute();
  });
  farm.database.notify(CHANGED.jobs);
  return group.length;
}
