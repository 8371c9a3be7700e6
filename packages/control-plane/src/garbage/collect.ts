/**
 * Garbage collection: mark what anything needs, then remove the rest that is old enough. What the log names is never
 * removed, nor what a pinned or unfinished job needs; what is left are uploads that came to nothing, inputs of jobs that
 * have ended, transcripts of attempts that failed.
 */
import type { GarbageReport } from '@lockstep/api/routes/operators';
import { carriedInputs } from '@lockstep/protocol/definition/carried';
import { decodeDefinition } from '@lockstep/protocol/definition/definition';
import { IN_TOTO_PAYLOAD } from '@lockstep/protocol/dsse/envelope';
import { parseJson } from '@lockstep/protocol/json/parse';
import { isProblem, readProvenance } from '@lockstep/protocol/provenance/read-provenance';
import { definitionKey, inputKey, pinKey, resultKey, transcriptKey } from '../content/keys.ts';
import type { Farm } from '../farm.ts';

const HOUR = 3_600_000;
const MOST_TOLD = 1000;
const MAX_DEFINITION = 16 << 20;
/** Prefixes in which something can become garbage. Definitions, submissions, pins and the log itself never do. */
const COLLECTED = ['inputs/', 'parts/', 'results/', 'signing/', 'transcripts/'] as const;

export async function collectGarbage(farm: Farm, dryRun: boolean, olderThanHours: number): Promise<GarbageReport> {
  const before = (farm.now() - olderThanHours * HOUR) / 1000;
  const needed = await mark(farm);
  const kept = { count: 0, bytes: 0 };
  const collected = { count: 0, bytes: 0 };
  const objects: string[] = [];
  for (const prefix of COLLECTED) {
    for await (const { key, size, modified } of farm.objects.list(prefix)) {
      const keep = needed.has(key) || modified >= before || !(await releaseInput(farm, key, before * 1000, dryRun));
      const sum = keep ? kept : collected;
      sum.count++;
      sum.bytes += size;
      if (keep) continue;
      if (objects.length < MOST_TOLD) objects.push(key);
      if (!dryRun) await farm.objects.remove(key);
    }
  }
  farm.journal('info', 'garbage', { dryRun, kept: kept.count, collected: collected.count, bytes: collected.bytes });
  return { dryRun, kept, collected, objects };
}

/**
 * Whoever has uploaded it has to upload it again. Decided by the row: a submission that uses it has noted so there, before or
 * not at all. @returns whether it may go
 */
async function releaseInput(farm: Farm, key: string, before: number, dryRun: boolean): Promise<boolean> {
  const input = /^inputs\/([0-9a-f]{64})$/.exec(key)?.[1];
  if (input === undefined) return true;
  const used = await farm.database.reads
    .selectFrom('inputs')
    .select('sha256')
    .where('sha256', '=', input)
    .where('uploaded_at', '>=', before)
    .executeTakeFirst();
  if (used !== undefined || dryRun) return used === undefined;
  await farm.database.write((tx) => tx.deleteFrom('inputs').where('sha256', '=', input).where('uploaded_at', '<', before).execute());
  return (await farm.database.reads.selectFrom('inputs').select('sha256').where('sha256', '=', input).executeTakeFirst()) === undefined;
}

/** Keys that something needs. */
async function mark(farm: Farm): Promise<Set<string>> {
  const needed = new Set<string>();
  // From the log itself, not from the database: what was published is found here whatever the database knows.
  for await (const { payloadType, payload } of farm.log.documents(0)) {
    if (payloadType !== IN_TOTO_PAYLOAD) continue;
    for (const digest of namedBy(payload)) needed.add(resultKey(digest));
  }
  const { reads } = farm.database;
  for (let after = 0; ; ) {
    const documents = await reads
      .selectFrom('documents')
      .select(['document', 'payload'])
      .where('document', '>', after)
      .where('log_index', 'is', null)
      .orderBy('document')
      .limit(500)
      .execute();
    for (const { payload } of documents)
      if (payload !== null) for (const digest of namedBy(new Uint8Array(payload))) needed.add(resultKey(digest));
    const last = documents.at(-1);
    if (last === undefined) break;
    after = last.document;
  }
  const pinned = new Set<string>();
  for await (const { key } of farm.objects.list(pinKey(''))) pinned.add(key.slice(pinKey('').length));
  const open = await reads.selectFrom('jobs').select('job').where('state', 'in', ['queued', 'building', 'revealing', 'disputed']).execute();
  const keep = [...new Set([...open.map((one) => one.job), ...pinned])];
  for (const job of keep) await markJob(farm, job, needed);
  return needed;
}

async function markJob(farm: Farm, job: string, needed: Set<string>): Promise<void> {
  const bytes = await farm.objects.get(definitionKey(job), MAX_DEFINITION);
  const decoded = bytes === null ? null : decodeDefinition(parseJson(bytes, definitionKey(job)));
  if (decoded?.ok === true) for (const { sha256 } of carriedInputs(decoded.value)) needed.add(inputKey(sha256));
  const attempts = await farm.database.reads.selectFrom('attempts').select(['attempt', 'leased_at']).where('job', '=', job).execute();
  for (const one of attempts) {
    const { attempt } = one;
    needed.add(transcriptKey(one));
    for await (const { key } of farm.objects.list(`parts/a-${attempt}/`)) needed.add(key);
  }
}

function namedBy(payload: Uint8Array): string[] {
  const read = readProvenance(payload);
  if (isProblem(read)) return [];
  return [
    ...read.statement.subject.map((one) => one.digest.sha256),
    ...read.statement.predicate.runDetails.byproducts.map((one) => one.digest.sha256),
  ];
}
