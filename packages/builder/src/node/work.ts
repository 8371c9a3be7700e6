/** One lease, from the definition to a result that is kept: fetched, checked, prepared, built, attested. */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { pipeline } from 'node:stream/promises';
import type { FarmClient } from '@lockstep/api/client';
import type { Lease } from '@lockstep/api/routes/builders';
import { carriedInputs } from '@lockstep/protocol/definition/carried';
import { buildId, decodeDefinition, type Definition } from '@lockstep/protocol/definition/definition';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { digestBytes } from '@lockstep/protocol/digest/digest';
import { pae, parseEnvelope } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parseJson } from '@lockstep/protocol/json/parse';
import { lockProblem } from '@lockstep/protocol/lock/consistency';
import { type AttestedBuild, prepareBuild } from '../build/build.ts';
import type { Context } from '../context.ts';
import { buildDealt, factThatCannotVary } from '../vary/dealt.ts';
import type { Ceilings } from './capabilities.ts';
import { type KeptResult, newSalt } from './kept-results.ts';

const MAX_DEFINITION = 16 << 20;

/** Runs one piece of work at a time of each name: two builders of one store prepare an environment once. */
export type Exclusive = <T>(name: string, work: () => Promise<T>) => Promise<T>;

export function exclusive(): Exclusive {
  const last = new Map<string, Promise<unknown>>();
  return async (name, work) => {
    const mine = (last.get(name) ?? Promise.resolve()).then(work, work);
    last.set(name, mine);
    try {
      return await mine;
    } finally {
      if (last.get(name) === mine) last.delete(name);
    }
  };
}

/** What came out of a repetition: compared by the farm with what this builder has said, and kept by nobody. */
export async function repeatLeased(
  context: Context,
  client: FarmClient,
  lease: Lease,
  ceilings: Ceilings,
  once: Exclusive,
): Promise<AttestedBuild['outputs']> {
  return (await build(context, client, lease, ceilings, once)).outputs;
}

/** @throws LockstepError, of the build or of what is around it */
export async function buildLeased(
  context: Context,
  client: FarmClient,
  lease: Lease,
  ceilings: Ceilings,
  once: Exclusive,
): Promise<KeptResult> {
  const built = await build(context, client, lease, ceilings, once);
  const envelope = parseEnvelope(context.store.blobs.read(built.attestation));
  return {
    state: 'built',
    attempt: lease.attempt,
    token: lease.token,
    job: lease.job,
    round: lease.round,
    opening: lease.opening,
    attestation: built.attestation,
    statement: digestBytes(pae(envelope.payloadType, envelope.payload)).sha256,
    salt: newSalt(),
    blobs: [...new Set([...built.outputs.map((one) => one.digest.sha256), built.sbom, built.transcript])],
  };
}

async function build(context: Context, client: FarmClient, lease: Lease, ceilings: Ceilings, once: Exclusive): Promise<AttestedBuild> {
  const definition = await fetchDefinition(client, lease);
  refuseTooLarge(definition, ceilings);
  await once('inputs', () => fetchCarried(context, client, lease, definition));
  await once('environment', () => prepareBuild(context, definition));
  let ambient = lease.ambient;
  for (;;) {
    try {
      return await buildDealt(context, definition, ambient);
    } catch (error) {
      // As it is here, and the attestation says so: whether that is enough is for the policy.
      const fact = factThatCannotVary(error);
      if (fact === null || !Object.hasOwn(ambient, fact)) throw error;
      context.progress.warn(`${fact} is left as it is: ${error instanceof Error ? error.message : ''}`);
      ambient = Object.fromEntries(Object.entries(ambient).filter(([name]) => name !== fact));
    }
  }
}

/** The farm's word is not taken: what it sends is the leased job's definition, or nothing. */
async function fetchDefinition(client: FarmClient, lease: Lease): Promise<Definition> {
  const response = await client.call('definition', {
    params: { attempt: String(lease.attempt) },
    headers: { 'lockstep-lease': lease.token },
  });
  const bytes = await readBounded(response, MAX_DEFINITION);
  const decoded = decodeDefinition(parseJson(bytes, 'definition'));
  const problem = !decoded.ok
    ? 'it is none'
    : buildId(decoded.value) !== lease.job
      ? 'it is another one'
      : lockProblem(decoded.value.manifest, decoded.value.lock);
  if (problem !== null || !decoded.ok)
    throw new LockstepError(
      'DOCUMENT_INVALID',
      `The farm sent a definition that cannot be built: ${problem ?? ''}`,
      'Ask the farm’s operator.',
    );
  return decoded.value;
}

/** A manifest asks; the host decides. */
function refuseTooLarge({ manifest }: Definition, ceilings: Ceilings): void {
  const { resources } = manifest;
  const over = (
    [
      ['memory_mb', resources.memory_mb, ceilings.memoryMb],
      ['scratch_mb + output_mb', resources.scratch_mb + resources.output_mb, ceilings.diskMb],
      ['timeout', resources.timeout, ceilings.seconds],
      ['cpus', resources.cpus, ceilings.cpus],
    ] as const
  ).find(([, wanted, most]) => most !== undefined && wanted > most);
  if (over !== undefined)
    throw new LockstepError(
      'HOST_CANNOT',
      `The build asks for ${over[0]} = ${over[1]}; this host gives ${over[2]} at most`,
      'Raise the ceiling of this builder, or ask for less.',
    );
}

async function fetchCarried(context: Context, client: FarmClient, lease: Lease, definition: Definition): Promise<void> {
  for (const { sha256, size } of carriedInputs(definition)) {
    if (context.store.blobs.has(sha256 as Sha256)) continue;
    const response = await client.call('input', {
      params: { attempt: String(lease.attempt), sha256 },
      headers: { 'lockstep-lease': lease.token },
    });
    await adoptStream(context, response, sha256, size);
  }
}

async function adoptStream(context: Context, response: Response, sha256: string, size: number): Promise<void> {
  const scratch = context.store.newScratch();
  const path = `${scratch}/input`;
  try {
    const hash = createHash('sha256');
    let read = 0;
    await pipeline(
      Readable.fromWeb(response.body as ReadableStream<Uint8Array>),
      async function* (source: AsyncIterable<Uint8Array>) {
        for await (const chunk of source) {
          read += chunk.length;
          if (read > size) throw mismatch(sha256, 'it is longer than the lock says');
          hash.update(chunk);
          yield chunk;
        }
      },
      createWriteStream(path, { flags: 'wx' }),
    );
    const found = hash.digest('hex');
    if (found !== sha256) throw mismatch(sha256, `it has SHA-256 ${found}`);
    context.store.blobs.adopt(path, found as Sha256);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

function mismatch(sha256: string, why: string): LockstepError {
  return new LockstepError(
    'DIGEST_MISMATCH',
    `The farm sent other bytes for sha256:${sha256}: ${why}`,
    'Ask the farm’s operator: its storage may be damaged.',
  );
}

async function readBounded(response: Response, most: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    size += part.length;
    if (size > most)
      throw new LockstepError('FETCH_TOO_LARGE', 'The farm sent more than a definition can have', 'Ask the farm’s operator.');
    parts.push(part);
  }
  return Buffer.concat(parts);
}
