/**
 * The database made again from what cannot be lost: submissions from the content store, documents and decisions from the
 * log. Queue positions, leases and tokens are not, and need not be. May be run at any time, again and again.
 */
import { OPENING, OUTCOME } from '@lockstep/protocol/commitment/documents';
import { decodeDefinition, type Definition } from '@lockstep/protocol/definition/definition';
import { integer, oneOf, table, text } from '@lockstep/protocol/decode/decode';
import { isSha256 } from '@lockstep/protocol/digest/digest';
import { readDocument } from '@lockstep/protocol/dsse/document';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { canonicalText } from '@lockstep/protocol/json/canonical';
import { parseJson } from '@lockstep/protocol/json/parse';
import { ruleFor } from '@lockstep/protocol/policy/policy';
import type { Decision } from '@lockstep/protocol/quorum/decision';
import { definitionKey } from '../content/keys.ts';
import { CHANGED, type Farm, type FoundDocument } from '../farm.ts';
import { recordSubmission, type SubmissionFact } from '../jobs/submit.ts';
import { keepDocument } from '../rounds/documents.ts';

const MAX_DEFINITION = 16 << 20;
const MAX_FACT = 64 * 1024;
/** Documents in one transaction. */
const TOGETHER = 200;

const decodeFact = table({
  schema: oneOf(['lockstep-submission/v1'] as const),
  submission: text('a submission', (value) => /^[a-z0-9-]{1,80}$/.test(value), 80),
  build_id: text('a build id', isSha256, 64),
  submitter: text('a submitter', (value) => value !== '', 200),
  priority: integer(-100, 100),
  submitted_at: integer(0, Number.MAX_SAFE_INTEGER),
});

export interface Reindexed {
  readonly submissions: number;
  readonly documents: number;
  readonly decided: number;
  /** What could not be used, each with why. */
  readonly passedOver: readonly string[];
}

export async function reindex(farm: Farm): Promise<Reindexed> {
  const { submissions, passedOver } = await addSubmissions(farm);
  const { documents, decided } = await addDocuments(farm, 0);
  farm.database.notify(CHANGED.jobs);
  return { submissions, documents, decided, passedOver };
}

async function addSubmissions(farm: Farm): Promise<Pick<Reindexed, 'submissions' | 'passedOver'>> {
  const passedOver: string[] = [];
  let submissions = 0;
  for await (const { key } of farm.objects.list('submissions/')) {
    const problem = await addSubmission(farm, key);
    if (problem === null) submissions++;
    else passedOver.push(`${key}: ${problem}`);
  }
  return { submissions, passedOver };
}

/** What the log has and the database has not: after a crash between the two, or a database from a backup. @returns how many */
export async function catchUp(farm: Farm): Promise<number> {
  const row = await farm.database.reads
    .selectFrom('documents')
    .select((expression) => expression.fn.max('log_index').as('last'))
    .executeTakeFirst();
  const next = row?.last == null ? 0 : Number(row.last) + 1;
  if ((await farm.log.size()) <= next) return 0;
  // It is behind: then there may be submissions too that it does not know.
  const { passedOver } = await addSubmissions(farm);
  for (const one of passedOver) farm.journal('warn', 'a submission is passed over', { submission: one });
  const { documents } = await addDocuments(farm, next);
  if (documents > 0) farm.journal('warn', 'the log had documents that the database did not know', { documents, from: next });
  return documents;
}

/** @returns why it is passed over; null when it is there */
async function addSubmission(farm: Farm, key: string): Promise<string | null> {
  const bytes = await farm.objects.get(key, MAX_FACT);
  const decoded = bytes === null ? null : decodeFact(parseJson(bytes, key), []);
  if (decoded?.ok !== true) return 'it is no submission';
  const fact: SubmissionFact = decoded.value;
  const definition = await readDefinition(farm, fact.build_id);
  if (definition === null) return 'its definition is not there';
  const rule = ruleFor(farm.policy(), definition.manifest.name, definition.manifest.tier)?.rule;
  if (rule === undefined) return 'no rule of the policy is about it';
  await farm.database.write((tx) => recordSubmission(tx, fact, definition, rule));
  return null;
}

async function readDefinition(farm: Farm, job: string): Promise<Definition | null> {
  const bytes = await farm.objects.get(definitionKey(job), MAX_DEFINITION);
  if (bytes === null) return null;
  const decoded = decodeDefinition(parseJson(bytes, definitionKey(job)));
  return decoded.ok ? decoded.value : null;
}

async function addDocuments(farm: Farm, from: number): Promise<{ documents: number; decided: number }> {
  let documents = 0;
  let decided = 0;
  let group: FoundDocument[] = [];
  const flush = async (): Promise<void> => {
    decided += await addGroup(farm, group);
    documents += group.length;
    group = [];
  };
  for await (const document of farm.log.documents(from)) {
    group.push(document);
    if (group.length >= TOGETHER) await flush();
  }
  if (group.length > 0) await flush();
  return { documents, decided };
}

function addGroup(farm: Farm, group: readonly FoundDocument[]): Promise<number> {
  return farm.database.write(async (tx) => {
    let decided = 0;
    for (const document of group) {
      await keepDocument(tx, farm, document.buildId, document, document.index);
      await tx
        .updateTable('documents')
        .set({ log_index: document.index })
        .where('digest', '=', document.digest)
        .where('signer', '=', document.signer.id)
        .where('log_index', 'is', null)
        .execute();
      const opening = read(() => readDocument(OPENING, document.payloadType, document.payload));
      if (opening !== null)
        await tx
          .updateTable('jobs')
          .set({ round: opening.round })
          .where('job', '=', opening.build_id)
          .where('round', '<', opening.round)
          .execute();
      const outcome = read(() => readDocument(OUTCOME, document.payloadType, document.payload));
      if (outcome === null || !farm.policy().coordinators.some((one) => one.key.id === document.signer.id)) continue;
      const decision = outcome.decision as unknown as Decision;
      const result = await tx
        .updateTable('jobs')
        .set({
          // Looked at by the reconciler: whether the outputs are here is not in the log.
          state: decision.result === 'disputed' ? 'disputed' : 'revealing',
          decision: canonicalText(outcome.decision),
          outcome_index: document.index,
          reason: `${decision.result}: ${decision.reason}`,
          deadline: farm.now() + farm.limits.revealSeconds * 1000,
          due: 1,
        })
        .where('job', '=', outcome.build_id)
        .where('state', 'in', ['queued', 'building', 'revealing', 'disputed'])
        .executeTakeFirst();
      decided += Number(result.numUpdatedRows);
    }
    // Looked at by the reconciler, whatever they were.
    await tx
      .updateTable('jobs')
      .set({ due: 1 })
      .where('job', 'in', [...new Set(group.map((one) => one.buildId))])
      .execute();
    return decided;
  });
}

/** Anybody can have a broken document logged: it is none. */
function read<T>(work: () => T | null): T | null {
  try {
    return work();
  } catch (error) {
    if (error instanceof LockstepError) return null;
    throw error;
  }
}
