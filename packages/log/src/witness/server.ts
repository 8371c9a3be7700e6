/** HTTP for a witness: two paths of C2SP tlog-witness, nothing else. Put TLS in front of it. */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { addCheckpoint, cosignedCheckpoint, type Witness, type WitnessReply } from './witness.ts';

/** 63 proof lines and a note of 64 signatures, with room. */
const MAX_BODY = 1 << 20;

export function witnessServer(witness: Witness, onError: (error: unknown) => void): Server {
  return createServer({ requestTimeout: 30_000, keepAliveTimeout: 60_000 }, (request, response) => {
    const send = (status: number, type: string, body: string): void => {
      response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
      response.end(body);
    };
    answer(witness, request)
      .then((reply) => send(reply.status, reply.type, reply.body))
      .catch((error: unknown) => {
        onError(error);
        send(500, 'text/plain; charset=utf-8', 'the witness could not keep its state, and did not cosign\n');
      });
  });
}

type Reply = WitnessReply | { readonly status: 404 | 405 | 413; readonly type: 'text/plain; charset=utf-8'; readonly body: string };

async function answer(witness: Witness, request: IncomingMessage): Promise<Reply> {
  const text = (status: 404 | 405 | 413, body: string): Reply => ({ status, type: 'text/plain; charset=utf-8', body: `${body}\n` });
  if (request.url === '/add-checkpoint') {
    if (request.method !== 'POST') return text(405, 'add-checkpoint is a POST');
    const body = await readBody(request);
    return body === null ? text(413, 'the request is too large') : addCheckpoint(witness, body);
  }
  const match = /^\/([0-9a-f]{64})\/checkpoint$/.exec(request.url ?? '');
  if (match === null) return text(404, 'there is no such path');
  if (request.method !== 'GET') return text(405, 'checkpoint is a GET');
  const note = cosignedCheckpoint(witness, match[1] ?? '');
  return note === null ? text(404, 'nothing was cosigned for that log') : { status: 200, type: 'text/plain; charset=utf-8', body: note };
}

async function readBody(request: IncomingMessage): Promise<Uint8Array | null> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    // Read to its end, so that the answer arrives.
    if (size <= MAX_BODY) parts.push(part);
    else if (size > 16 * MAX_BODY) throw new Error('a request of more than 16 MiB');
  }
  return size > MAX_BODY ? null : Buffer.concat(parts);
}
