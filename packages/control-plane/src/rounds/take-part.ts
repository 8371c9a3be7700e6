/** What a builder says in a round: its commitment, then what opens it (spec/commitment.md). */
import { commitmentOf } from '@lockstep/protocol/commitment/commit';
import { COMMITMENT, REVEAL } from '@lockstep/protocol/commitment/documents';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { readDocument } from '@lockstep/protocol/dsse/document';
import { IN_TOTO_PAYLOAD } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type Claim, readClaim } from '@lockstep/protocol/quorum/claim';
import { readProvenance, isProblem } from '@lockstep/protocol/provenance/read-provenance';
import type { SignedDocumentJson } from '@lockstep/api/values';
import { resultKey } from '../content/keys.ts';
import type { Writes } from '../database/database.ts';
import { CHANGED, type Farm, type SignedDocument } from '../farm.ts';
import { type Job } from '../jobs/find-job.ts';
import { type Attempt, heldWithJob, type LeaseProof, stale } from '../leases/held.ts';
import { documentDigest, keepDocument, readSigned } from './documents.ts';

/** Acknowledged once it is on the disk; said again it is acknowledged again. @throws LockstepError LEASE_STALE, ROUND_REFUSED, DOCUMENT_INVALID */
export async function commit(farm: Farm, proof: LeaseProof, json: SignedDocumentJson): Promise<void> {
  const document = signedBy(proof, json);
  const commitment = readDocument(COMMITMENT, document.payloadType, document.payload);
  if (commitment === null) throw refused('it is no commitment');
  await farm.database.write(async (tx) => {
    const { attempt, job } = await heldWithJob(farm.database, tx, proof, ['leased', 'committed']);
    requireRound(attempt, job);
    if (commitment.build_id !== attempt.job || commitment.round !== attempt.round || commitment.opening !== job.opening)
      throw refused('it is about another round than the lease');
    const before = await committedDocument(tx, attempt, proof.builder.attestationKey);
    if (before !== null) {
      if (before.digest === documentDigest(document)) return;
      throw refused('another commitment was given in this round');
    }
    if (attempt.state !== 'leased' || job.state !== 'building') throw refused('the time for commitments is over');
    await keepDocument(tx, farm, attempt.job, document);
    await tx.updateTable('attempts').set({ state: 'committed' }).where('attempt', '=', attempt.attempt).execute();
    await setTask(tx, attempt, 'committed');
    await touch(tx, farm, attempt.job, `${attempt.builder} has committed`);
  });
  farm.metrics.leases.inc({ outcome: 'committed' });
  farm.database.notify(CHANGED.jobs);
  farm.database.notify(CHANGED.job(commitment.build_id));
}

/**
 * The statement becomes public, so only when nobody can commit any more.
 * @returns digests of the bytes that the farm wants
 * @throws LockstepError LEASE_STALE, ROUND_REFUSED, STATEMENT_INVALID
 */
export async function reveal(
  farm: Farm,
  proof: LeaseProof,
  given: { reveal: SignedDocumentJson | null; statement: SignedDocumentJson },
): Promise<string[]> {
  const statement = signedBy(proof, given.statement);
  const opened = given.reveal === null ? null : signedBy(proof, given.reveal);
  const digest = documentDigest(statement);
  const claim = statement.payloadType === IN_TOTO_PAYLOAD ? readClaim(statement.payload, digest, statement.signer.id) : null;
  if (claim === null)
    throw new LockstepError(
      'STATEMENT_INVALID',
      'The statement is none of a build that holds together',
      'Build again; spec/provenance.md says how it looks.',
    );
  // Asked of the storage before the transaction begins: it may take its time.
  const named = bytesOf(claim, statement.payload);
  const missing = await missingResults(farm, named);
  const wanted = await farm.database.write(async (tx) => {
    const { attempt, job } = await heldWithJob(farm.database, tx, proof, ['leased', 'committed', 'revealed']);
    if (claim.buildId !== attempt.job) throw refused('the statement is about another definition than the lease');
    if (attempt.state === 'revealed') {
      if (attempt.statement !== digest) throw refused('another statement was revealed');
      return JSON.parse(attempt.wanted ?? '[]') as string[];
    }
    requireRound(attempt, job);
    if (job.commitments === 1) await requireOpens(tx, attempt, job, proof, opened, digest);
    else if (attempt.state !== 'leased' || job.state !== 'building') throw refused('nothing is waited for');
    if (opened !== null) await keepDocument(tx, farm, attempt.job, opened);
    await keepDocument(tx, farm, attempt.job, statement);
    const others = await wantedOfOthers(tx, attempt);
    const mine = missing.filter((one) => !others.has(one));
    await tx
      .updateTable('attempts')
      .set({ state: 'revealed', ended_at: farm.now(), statement: digest, wanted: JSON.stringify(mine) })
      .where('attempt', '=', attempt.attempt)
      .execute();
    await setTask(tx, attempt, 'revealed');
    await touch(tx, farm, attempt.job, `${attempt.builder} has revealed`);
    return mine;
  });
  farm.metrics.leases.inc({ outcome: 'revealed' });
  farm.database.notify(CHANGED.jobs);
  farm.database.notify(CHANGED.job(claim.buildId));
  return wanted;
}

/** Outputs, and what else the statement names: SBOM and transcript. */
function bytesOf(claim: Claim, payload: Uint8Array): string[] {
  const read = readProvenance(payload);
  const byproducts = isProblem(read) ? [] : read.statement.predicate.runDetails.byproducts.map((one) => one.digest.sha256);
  return [...new Set([...claim.outputs.map((one) => one.sha256), ...byproducts])];
}

async function missingResults(farm: Farm, digests: readonly string[]): Promise<string[]> {
  const sizes = await Promise.all(digests.map((digest) => farm.objects.size(resultKey(digest))));
  return digests.filter((_digest, at) => sizes[at] === null);
}

/** What another builder of this round is sending already. After the reveal it is no secret who has what. */
async function wantedOfOthers(tx: Writes, attempt: Attempt): Promise<Set<string>> {
  const rows = await tx
    .selectFrom('attempts')
    .select('wanted')
    .where('job', '=', attempt.job)
    .where('round', '=', attempt.round)
    .where('state', '=', 'revealed')
    .where('attempt', '!=', attempt.attempt)
    .execute();
  return new Set(rows.flatMap((row) => JSON.parse(row.wanted ?? '[]') as string[]));
}

async function requireOpens(
  tx: Writes,
  attempt: Attempt,
  job: Job,
  proof: LeaseProof,
  opened: SignedDocument | null,
  statement: Sha256,
): Promise<void> {
  const committed = await committedDocument(tx, attempt, proof.builder.attestationKey);
  if (committed === null) throw refused('nothing was committed');
  if (job.state !== 'revealing' || job.round !== attempt.round)
    throw refused(
      `the round is ${job.round === attempt.round ? 'still open for commitments' : 'over'}: nothing is revealed before everybody has committed`,
    );
  const document = opened === null ? null : readDocument(REVEAL, opened.payloadType, opened.payload);
  if (document === null) throw refused('there is no reveal with it');
  if (
    document.build_id !== attempt.job ||
    document.round !== attempt.round ||
    document.opening !== job.opening ||
    document.statement !== statement
  )
    throw refused('the reveal is about something else');
  const commitment = readDocument(COMMITMENT, COMMITMENT.payloadType, committed.payload);
  const opens = commitmentOf({
    opening: job.opening as Sha256,
    key: proof.builder.attestationKey as Sha256,
    salt: document.salt,
    statement,
  });
  if (opens !== commitment?.commitment) throw refused('it does not open the commitment');
}

async function committedDocument(tx: Writes, attempt: Attempt, signer: string): Promise<{ digest: string; payload: Uint8Array } | null> {
  const rows = await tx
    .selectFrom('documents')
    .select(['digest', 'payload'])
    .where('job', '=', attempt.job)
    .where('signer', '=', signer)
    .where('payload_type', '=', COMMITMENT.payloadType)
    .execute();
  for (const { digest, payload } of rows) {
    if (payload === null) continue;
    const bytes = new Uint8Array(payload);
    if (readDocument(COMMITMENT, COMMITMENT.payloadType, bytes)?.round === attempt.round) return { digest, payload: bytes };
  }
  return null;
}

/** Only what the builder's own attestation key has signed: nobody delivers for others. */
function signedBy(proof: LeaseProof, json: SignedDocumentJson): SignedDocument {
  const document = readSigned(json);
  if (document.signer.id !== proof.builder.attestationKey) throw refused('it is signed by another key than this builder’s');
  return document;
}

function requireRound(attempt: Attempt, job: Job): void {
  if (job.round !== attempt.round) throw stale(attempt.attempt, 'its round is over');
}

async function setTask(tx: Writes, attempt: Attempt, state: string): Promise<void> {
  await tx
    .updateTable('tasks')
    .set({ state })
    .where('job', '=', attempt.job)
    .where('round', '=', attempt.round)
    .where('builder', '=', attempt.builder)
    .execute();
}

async function touch(tx: Writes, farm: Farm, job: string, reason: string): Promise<void> {
  await tx.updateTable('jobs').set({ due: 1, updated_at: farm.now(), reason }).where('job', '=', job).execute();
}

function refused(why: string): LockstepError {
  return new LockstepError(
    'ROUND_REFUSED',
    `The farm does not take this: ${why}`,
    'Ask the farm again what it wants; spec/commitment.md says when what may be said.',
  );
}
