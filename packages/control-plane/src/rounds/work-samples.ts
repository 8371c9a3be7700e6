/** What a builder makes of a lease, for tests: a statement about outputs, its commitment, its reveal. */
import { createHash, randomBytes } from 'node:crypto';
import type { Lease } from '@lockstep/api/routes/builders';
import type { SignedDocumentJson } from '@lockstep/api/values';
import { commitmentOf } from '@lockstep/protocol/commitment/commit';
import { COMMITMENT, REVEAL } from '@lockstep/protocol/commitment/documents';
import type { Definition } from '@lockstep/protocol/definition/definition';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { IN_TOTO_PAYLOAD } from '@lockstep/protocol/dsse/envelope';
import { sampleKeyId } from '@lockstep/protocol/policy/samples';
import { output, statementBytes } from '@lockstep/protocol/quorum/samples';
import { type SampleBuilder, type SampleFarm, signedBytes, signedJson } from '../samples.ts';
import { documentDigest } from './documents.ts';

export interface Work {
  readonly builder: SampleBuilder;
  readonly lease: Lease;
  readonly salt: string;
  /** Digest of the statement's signed bytes. */
  readonly digest: Sha256;
  readonly statement: SignedDocumentJson;
  readonly outputs: readonly Uint8Array[];
}

/** @param content of its only output */
export function built(builder: SampleBuilder, lease: Lease, definition: Definition, content = 'good'): Work {
  const payload = statementBytes({
    definition,
    outputs: [output('hello', content)],
    ambient: lease.ambient,
    invocation: `${builder.name} ${lease.attempt}`,
  });
  return {
    builder,
    lease,
    salt: randomBytes(32).toString('hex'),
    digest: documentDigest({ payloadType: IN_TOTO_PAYLOAD, payload }),
    statement: signedBytes(builder.signer, IN_TOTO_PAYLOAD, payload),
    outputs: [Buffer.from(content)],
  };
}

/** How calls about an attempt are addressed. */
export function about(lease: Lease): { params: { attempt: string }; headers: { 'lockstep-lease': string } } {
  return { params: { attempt: String(lease.attempt) }, headers: { 'lockstep-lease': lease.token } };
}

export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function commitmentBody(
  { builder, lease, salt, digest }: Work,
  change: { commitment?: string; signer?: number } = {},
): SignedDocumentJson {
  const opening = lease.opening as Sha256;
  return signedJson(change.signer ?? builder.signer, COMMITMENT, {
    schema: 'lockstep-commitment/v1',
    build_id: lease.job,
    round: lease.round,
    opening,
    commitment: change.commitment ?? commitmentOf({ opening, key: sampleKeyId(builder.signer), salt, statement: digest }),
  });
}

export function revealBody(work: Work, change: { salt?: string; statement?: string } = {}): SignedDocumentJson {
  const { builder, lease, salt, digest } = work;
  return signedJson(builder.signer, REVEAL, {
    schema: 'lockstep-reveal/v1',
    build_id: lease.job,
    round: lease.round,
    opening: lease.opening ?? '',
    statement: change.statement ?? digest,
    salt: change.salt ?? salt,
  });
}

export async function commitWork(work: Work): Promise<void> {
  await work.builder.client.call('commit', { ...about(work.lease), body: commitmentBody(work) });
}

/** @returns what is wanted */
export async function revealWork(work: Work): Promise<string[]> {
  const body = { reveal: work.lease.opening === null ? null : revealBody(work), statement: work.statement };
  return (await work.builder.client.call('reveal', { ...about(work.lease), body })).wanted;
}

/** In one part. */
export async function uploadBytes({ builder, lease }: Work, bytes: Uint8Array): Promise<void> {
  const sha256 = sha256Of(bytes);
  const { headers } = about(lease);
  const params = { attempt: lease.attempt, sha256 };
  await builder.client.call('putUploadPart', { params: { ...params, part: sha256 }, headers, body: bytes });
  await builder.client.call('finishUpload', { params, headers, body: { size: bytes.length, parts: [sha256] } });
}

export async function leaseOf(builder: SampleBuilder): Promise<Lease> {
  const { leases } = await builder.client.call('lease', { body: { free: 1, waitSeconds: 0 } });
  const [lease] = leases;
  if (lease === undefined) throw new TypeError(`nothing for ${builder.name}`);
  return lease;
}

/** Builders that have something to do, with what they got. */
export async function leaseAll(sample: SampleFarm): Promise<{ builder: SampleBuilder; lease: Lease }[]> {
  const found: { builder: SampleBuilder; lease: Lease }[] = [];
  for (const builder of sample.builders)
    for (const lease of (await builder.client.call('lease', { body: { free: 8, waitSeconds: 0 } })).leases) found.push({ builder, lease });
  return found;
}

/** The whole way of a job, by builders that all say the same unless `contents` tells otherwise. @returns what they did */
export async function buildAll(
  sample: SampleFarm,
  definition: Definition,
  contents: (at: number) => string = () => 'good',
): Promise<Work[]> {
  await sample.settle();
  const works = (await leaseAll(sample)).map(({ builder, lease }, at) => built(builder, lease, definition, contents(at)));
  for (const work of works) if (work.lease.opening !== null) await commitWork(work);
  await sample.settle();
  for (const work of works) {
    const wanted = await revealWork(work);
    for (const bytes of work.outputs) if (wanted.includes(sha256Of(bytes))) await uploadBytes(work, bytes);
  }
  await sample.settle();
  return works;
}
