/** How a log asks its witnesses over HTTP: submission prefix and monitoring prefix are the one address in its policy. */
import type { Checkpoint } from '@lockstep/protocol/checkpoint/checkpoint';
import { parseDecimal } from '@lockstep/protocol/checkpoint/checkpoint';
import { openCheckpoint } from '@lockstep/protocol/checkpoint/open';
import type { WitnessPolicy } from '@lockstep/protocol/checkpoint/witness-policy';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { formatNote, type NoteSignature, parseNote, parseSignatureLine } from '@lockstep/protocol/note/note';
import type { WitnessAnswer, WitnessClient } from '../sequence/publish.ts';
import type { LogSource } from '../source/log-source.ts';
import { proveConsistency } from '../source/tree-reader.ts';
import { formatRequest, originHashOf } from './witness.ts';

const TIMEOUT = 10_000;
const MAX_ANSWER = 1_000_000;
/** A witness has two keys; more is room for those of a future. */
const MAX_LINES = 16;
/** The first attempt, and one after the witness has said where it stands. */
const ATTEMPTS = 3;

interface Address {
  readonly url: string;
  readonly witnesses: WitnessPolicy['witnesses'];
}

/** @param source the log's own files, for consistency proofs */
export function httpWitnesses(policy: WitnessPolicy, origin: string, source: LogSource): WitnessClient {
  const addresses = addressesOf(policy);
  const sizes = new Map<string, number>();
  return {
    async cosign(note, checkpoint) {
      const answers = await Promise.all(
        addresses.map(async (address): Promise<WitnessAnswer[]> => {
          const give = (signatures: readonly NoteSignature[], error: string | null): WitnessAnswer[] => [
            { name: address.witnesses.map((one) => one.name).join('+'), signatures, error },
          ];
          try {
            return give(await ask(address, note, checkpoint, source, sizes), null);
          } catch (error) {
            return give([], describe(error));
          }
        }),
      );
      return answers.flat();
    },
    async latest() {
      return (
        await Promise.all(
          addresses.map(async ({ url, witnesses }) => {
            const note = await latestOf(url, origin);
            return witnesses.map(({ name }) => ({ name, note }));
          }),
        )
      ).flat();
    },
  };
}

/** One witness may stand in a policy with two keys; it is asked once. */
function addressesOf(policy: WitnessPolicy): Address[] {
  const urls = new Set(policy.witnesses.flatMap((one) => (one.url === null ? [] : [one.url.replace(/\/+$/, '')])));
  return [...urls].map((url) => ({ url, witnesses: policy.witnesses.filter((one) => one.url?.replace(/\/+$/, '') === url) }));
}

async function ask(
  address: Address,
  note: string,
  checkpoint: Checkpoint,
  source: LogSource,
  sizes: Map<string, number>,
): Promise<NoteSignature[]> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const old = sizes.get(address.url) ?? 0;
    if (old > checkpoint.size) throw new TypeError(`it has cosigned a checkpoint of size ${old}; this one has ${checkpoint.size}`);
    const proof = await proveConsistency(source, old, checkpoint.size);
    const { status, body } = await request(`${address.url}/add-checkpoint`, formatRequest(old, proof, note));
    if (status === 200) {
      sizes.set(address.url, checkpoint.size);
      return signaturesFrom(address, note, body);
    }
    const size = status === 409 ? parseDecimal(body.trimEnd()) : null;
    if (size === null || size === old) throw new TypeError(`status ${status}: ${body.trim().slice(0, 200)}`);
    sizes.set(address.url, size);
  }
  throw new TypeError('it answered each time with another size');
}

/** Only what verifies with a key of the policy is taken over ("The client MUST ignore any cosignatures from unknown keys"). */
function signaturesFrom(address: Address, note: string, body: string): NoteSignature[] {
  const lines = body.split('\n').filter((line) => line !== '');
  if (lines.length > MAX_LINES) throw new TypeError(`its answer has more than ${MAX_LINES} lines`);
  const signatures = lines.map(parseSignatureLine);
  const own = parseNote(note);
  // Each key once, whatever a witness repeats.
  return address.witnesses.flatMap(({ key }) => {
    const signature = signatures.find((one) => one.name === key.name && one.keyId === key.keyId);
    if (signature === undefined) return [];
    return openCheckpoint(formatNote({ text: own.text, signatures: [signature] }), [key]).signedBy.length === 1 ? [signature] : [];
  });
}

async function latestOf(url: string, origin: string): Promise<string | null | LockstepError> {
  try {
    const { status, body } = await request(`${url}/${originHashOf(origin)}/checkpoint`, null);
    if (status === 404) return null;
    if (status !== 200) throw new TypeError(`status ${status}`);
    return body;
  } catch (error) {
    return new LockstepError('FETCH_FAILED', `${url}: ${describe(error)}`, 'Bring the witness back.');
  }
}

async function request(url: string, body: string | null): Promise<{ status: number; body: string }> {
  const response = await fetch(url, {
    redirect: 'error',
    signal: AbortSignal.timeout(TIMEOUT),
    ...(body === null ? {} : { method: 'POST', body, headers: { 'content-type': 'text/plain; charset=utf-8' } }),
  });
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body ?? []) {
    size += part.length;
    if (size > MAX_ANSWER) throw new TypeError('the answer is larger than a megabyte');
    parts.push(part);
  }
  return { status: response.status, body: Buffer.concat(parts).toString('utf8') };
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
