/**
 * How a log asks its witnesses, and what it takes of their answers. Over HTTP submission prefix and monitoring prefix are
 * the one address in its policy; local-client.ts asks those of the same process.
 */
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

/** How one witness is reached: the two calls of C2SP tlog-witness, whatever carries them. What it answers is not believed. */
export interface WitnessTransport {
  /** Where it is, for messages. */
  readonly name: string;
  /** `POST add-checkpoint` */
  addCheckpoint(body: string): Promise<TransportReply>;
  /** `GET ORIGIN-HASH/checkpoint` */
  checkpoint(originHash: string): Promise<TransportReply>;
}

export interface TransportReply {
  readonly status: number;
  readonly body: string;
}

/** One witness may stand in a policy with two keys; it is asked once. */
export interface AskedWitness {
  readonly transport: WitnessTransport;
  readonly witnesses: WitnessPolicy['witnesses'];
}

/** @param source the log's own files, for consistency proofs */
export function httpWitnesses(policy: WitnessPolicy, origin: string, source: LogSource): WitnessClient {
  return witnessClient(askedByUrl(policy.witnesses), origin, source);
}

export function witnessClient(asked: readonly AskedWitness[], origin: string, source: LogSource): WitnessClient {
  const sizes = new Map<AskedWitness, number>();
  return {
    async cosign(note, checkpoint) {
      const answers = await Promise.all(
        asked.map(async (one): Promise<WitnessAnswer[]> => {
          const give = (signatures: readonly NoteSignature[], error: string | null): WitnessAnswer[] => [
            { name: one.witnesses.map(({ name }) => name).join('+'), signatures, error },
          ];
          try {
            return give(await ask(one, note, checkpoint, source, sizes), null);
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
          asked.map(async ({ transport, witnesses }) => {
            const note = await latestOf(transport, origin);
            return witnesses.map(({ name }) => ({ name, note }));
          }),
        )
      ).flat();
    },
  };
}

/** Those without an address cannot be asked. */
export function askedByUrl(witnesses: WitnessPolicy['witnesses']): AskedWitness[] {
  const urls = new Set(witnesses.flatMap((one) => (one.url === null ? [] : [one.url.replace(/\/+$/, '')])));
  return [...urls].map((url) => ({
    transport: httpTransport(url),
    witnesses: witnesses.filter((one) => one.url?.replace(/\/+$/, '') === url),
  }));
}

async function ask(
  asked: AskedWitness,
  note: string,
  checkpoint: Checkpoint,
  source: LogSource,
  sizes: Map<AskedWitness, number>,
): Promise<NoteSignature[]> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const old = sizes.get(asked) ?? 0;
    if (old > checkpoint.size) throw new TypeError(`it has cosigned a checkpoint of size ${old}; this one has ${checkpoint.size}`);
    const proof = await proveConsistency(source, old, checkpoint.size);
    const { status, body } = await asked.transport.addCheckpoint(formatRequest(old, proof, note));
    if (status === 200) {
      sizes.set(asked, checkpoint.size);
      return signaturesFrom(asked, note, body);
    }
    const size = status === 409 ? parseDecimal(body.trimEnd()) : null;
    if (size === null || size === old) throw new TypeError(`status ${status}: ${body.trim().slice(0, 200)}`);
    sizes.set(asked, size);
  }
  throw new TypeError('it answered each time with another size');
}

/** Only what verifies with a key of the policy is taken over ("The client MUST ignore any cosignatures from unknown keys"). */
function signaturesFrom(asked: AskedWitness, note: string, body: string): NoteSignature[] {
  const lines = body.split('\n').filter((line) => line !== '');
  if (lines.length > MAX_LINES) throw new TypeError(`its answer has more than ${MAX_LINES} lines`);
  const signatures = lines.map(parseSignatureLine);
  const own = parseNote(note);
  // Each key once, whatever a witness repeats.
  return asked.witnesses.flatMap(({ key }) => {
    const signature = signatures.find((one) => one.name === key.name && one.keyId === key.keyId);
    if (signature === undefined) return [];
    return openCheckpoint(formatNote({ text: own.text, signatures: [signature] }), [key]).signedBy.length === 1 ? [signature] : [];
  });
}

async function latestOf(transport: WitnessTransport, origin: string): Promise<string | null | LockstepError> {
  try {
    const { status, body } = await transport.checkpoint(originHashOf(origin));
    if (status === 404) return null;
    if (status !== 200) throw new TypeError(`status ${status}`);
    return body;
  } catch (error) {
    return new LockstepError('FETCH_FAILED', `${transport.name}: ${describe(error)}`, 'Bring the witness back.');
  }
}

function httpTransport(url: string): WitnessTransport {
  return {
    name: url,
    addCheckpoint: (body) => request(`${url}/add-checkpoint`, body),
    checkpoint: (originHash) => request(`${url}/${originHash}/checkpoint`, null),
  };
}

async function request(url: string, body: string | null): Promise<TransportReply> {
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
