import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { test } from 'node:test';
import { parseCheckpointText } from '@lockstep/protocol/checkpoint/checkpoint';
import { parseWitnessPolicy, type WitnessPolicy } from '@lockstep/protocol/checkpoint/witness-policy';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parseNote } from '@lockstep/protocol/note/note';
import { formatVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { emptyDisk, memoryHome, document, LOG_KEY } from '../sequence/samples.ts';
import { openSequencer } from '../sequence/sequencer.ts';
import { httpWitnesses } from './client.ts';
import { listen, memoryWitness, policyFor, sampleLog, stop } from './samples.ts';
import { witnessServer } from './server.ts';
import { addCheckpoint, formatRequest } from './witness.ts';

const log = sampleLog(12);

const fail = (error: unknown): never => assert.fail(String(error));

async function withServers<T>(servers: readonly Server[], act: (urls: string[]) => Promise<T>): Promise<T> {
  const urls = await Promise.all(servers.map((server) => listen(server)));
  try {
    return await act(urls);
  } finally {
    await Promise.all(servers.map(stop));
  }
}

/** Answers every request with the same. */
function stubborn(status: number, body: string | Buffer): Server {
  return createServer((request, response) => {
    request.resume();
    request.on('end', () => response.writeHead(status, { 'content-type': 'text/plain' }).end(body));
  });
}

const policyOf = (text: string): WitnessPolicy => parseWitnessPolicy(text, 'policy');

test('httpWitnesses learns the size of a witness from its 409, asks once for two keys, and takes both cosignatures', async () => {
  const witness = memoryWitness('w.example/1', [log.key]);
  addCheckpoint(witness, await log.request(0, 3));
  await withServers([witnessServer(witness, fail)], async ([url = '']) => {
    const client = httpWitnesses(policyOf(policyFor(witness, `${url}/`)), log.key.name, log.source);
    for (const size of [7, 12, 12]) {
      const answers = await client.cosign(log.noteAt(size), parseCheckpointText(parseNote(log.noteAt(size)).text));
      assert.deepEqual(
        answers.map(({ error, signatures }) => [error, signatures.length]),
        [[null, 2]],
      );
    }
    const latest = await client.latest();
    assert.deepEqual(
      latest.map(({ name }) => name),
      ['e', 'm'],
    );
    assert.ok(typeof latest[0]?.note === 'string' && latest[0].note.startsWith(log.noteAt(12)));
    const [older] = await client.cosign(log.noteAt(5), parseCheckpointText(parseNote(log.noteAt(5)).text));
    assert.match(older?.error ?? '', /has cosigned a checkpoint of size 12/);
  });
});

test('httpWitnesses reports a witness that answers nonsense, and takes nothing of it', async () => {
  const stranger = memoryWitness('w.example/1', [log.key]);
  const lines = addCheckpoint(stranger, await log.request(0, 5)).body;
  const other = addCheckpoint(memoryWitness('w.example/1', [log.key]), await log.request(0, 5)).body;
  for (const [status, body, error] of [
    [200, 'nonsense\n', /malformed/],
    [200, '', null],
    [200, other, null],
    [200, lines.replace(/.{20}\n/g, `${'A'.repeat(20)}\n`), /malformed|does not verify/],
    [200, Buffer.alloc(2_000_000, 'x'), /larger than a megabyte/],
    [409, '5\n', /status 409/],
    [409, '99\n', /size 99/],
    [409, 'x\n', /status 409/],
    [500, 'no\n', /status 500/],
    [302, '', /./],
  ] as const)
    await withServers([stubborn(status, body)], async ([url = '']) => {
      const client = httpWitnesses(policyOf(policyFor(stranger, url)), log.key.name, log.source);
      const [answer] = await client.cosign(log.noteAt(5), parseCheckpointText(parseNote(log.noteAt(5)).text));
      assert.deepEqual(answer?.signatures, [], `${status} ${String(body).slice(0, 20)}`);
      if (error === null) assert.equal(answer?.error, null);
      else assert.match(answer?.error ?? '', error);
    });
  const client = httpWitnesses(policyOf(policyFor(stranger, 'http://127.0.0.1:1')), log.key.name, log.source);
  assert.match((await client.cosign(log.noteAt(5), parseCheckpointText(parseNote(log.noteAt(5)).text)))[0]?.error ?? '', /./);
  assert.ok((await client.latest()).every(({ note }) => note instanceof LockstepError && note.code === 'FETCH_FAILED'));
});

/** One honest witness is enough for the policy; the other one answers as it likes. */
async function besideAnHonestOne(evil: (lines: string) => Server): Promise<number> {
  const honest = memoryWitness('honest.example', [LOG_KEY]);
  const rogue = memoryWitness('rogue.example', [LOG_KEY]);
  // What it would answer to the first checkpoint of this log is known beforehand: the log's signature is deterministic.
  const disk = emptyDisk();
  await (await openSequencer(memoryHome(disk), null)).append(document('a'));
  const { body } = addCheckpoint(rogue, Buffer.from(formatRequest(0, [], disk.published[0] ?? '')));
  return withServers([witnessServer(honest, fail), evil(body)], async ([good = '', bad = '']) => {
    const key = formatVerifierKey;
    const text = `witness h ${key(honest.ed25519.key)} ${good}\nwitness r ${key(rogue.ed25519.key)} ${bad}\ngroup one any h r\nquorum one\n`;
    const home = memoryHome(emptyDisk(), { witnessPolicy: text });
    return (await openSequencer(home, httpWitnesses(policyOf(text), home.origin, home.source))).append(document('a'));
  });
}

const onPost = (body: string): Server =>
  createServer((request, response) => {
    request.resume();
    request.on('end', () => response.writeHead(request.method === 'POST' ? 200 : 404).end(body));
  });

test('a witness that answers nonsense does not keep a log from publishing when the others are enough', async () => {
  assert.equal(await besideAnHonestOne(() => onPost('nonsense\n')), 0);
});

test('a witness that repeats its cosignature a hundred times does not keep a log from publishing when the others are enough', async () => {
  assert.equal(await besideAnHonestOne((lines) => onPost(`${lines.split('\n')[0]}\n`.repeat(100))), 0);
});

test('a witness that shows nonsense as its newest checkpoint does not keep a log from opening when the others are enough', async () => {
  assert.equal(await besideAnHonestOne(() => stubborn(200, 'nonsense\n')), 0);
});
