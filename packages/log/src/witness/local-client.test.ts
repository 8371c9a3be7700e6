import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Checkpoint, parseCheckpointText } from '@lockstep/protocol/checkpoint/checkpoint';
import { parseWitnessPolicy, type WitnessPolicy } from '@lockstep/protocol/checkpoint/witness-policy';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parseNote } from '@lockstep/protocol/note/note';
import { formatVerifierKey } from '@lockstep/protocol/note/verifier-key';
import type { WitnessClient } from '../sequence/publish.ts';
import { document, emptyDisk, LOG_KEY, memoryHome } from '../sequence/samples.ts';
import { openSequencer } from '../sequence/sequencer.ts';
import { httpWitnesses } from './client.ts';
import { localWitnesses } from './local-client.ts';
import { listen, memoryCells, memoryWitness, policyFor, sampleLog, stop } from './samples.ts';
import { witnessServer } from './server.ts';
import { addCheckpoint, type Witness } from './witness.ts';

const log = sampleLog(12);
const policyOf = (text: string): WitnessPolicy => parseWitnessPolicy(text, 'policy');
const NOWHERE = 'http://127.0.0.1:1';
const fail = (error: unknown): never => assert.fail(String(error));

const checkpointAt = (size: number, of = log): Checkpoint => parseCheckpointText(parseNote(of.noteAt(size)).text);
const cosignAt = (client: WitnessClient, size: number): ReturnType<WitnessClient['cosign']> =>
  client.cosign(log.noteAt(size), checkpointAt(size));

/** The same questions over HTTP and in one process. */
async function asked(witness: Witness, act: (client: WitnessClient) => Promise<unknown>): Promise<[http: unknown, local: unknown]> {
  const server = witnessServer(witness, fail);
  try {
    const url = await listen(server);
    const http = await act(httpWitnesses(policyOf(policyFor(witness, url)), log.key.name, log.source));
    return [http, await act(localWitnesses(policyOf(policyFor(witness, NOWHERE)), log.key.name, log.source, [witness]))];
  } finally {
    await stop(server);
  }
}

test('localWitnesses answers as httpWitnesses: it learns the size, asks once for two keys, and cosigns no smaller tree', async () => {
  const [http, local] = await asked(memoryWitness('w.example/1', [log.key]), async (client) => {
    const told: unknown[] = [await client.latest()];
    for (const size of [12, 12, 5]) {
      const answers = await cosignAt(client, size);
      told.push(answers.map(({ name, signatures, error }) => ({ name, count: signatures.length, error })));
    }
    const latest = (await client.latest()).map(({ name, note }) => [name, typeof note === 'string' && note.startsWith(log.noteAt(12))]);
    return [...told.slice(1), latest];
  });
  assert.deepEqual(local, http);
  assert.deepEqual(local, [
    [{ name: 'e+m', count: 2, error: null }],
    [{ name: 'e+m', count: 2, error: null }],
    [{ name: 'e+m', count: 0, error: 'it has cosigned a checkpoint of size 12; this one has 5' }],
    [
      ['e', true],
      ['m', true],
    ],
  ]);
});

test('localWitnesses: a witness of the same process cosigns nothing that is not proven to continue what it has seen', async () => {
  const witness = memoryWitness('w.example/1', [log.key]);
  addCheckpoint(witness, await log.request(0, 5));
  const rewritten = sampleLog(12, log.key.name, (index) => `other ${index}`);
  const both = { ...witness, logs: new Map([[log.key.name, [log.key, rewritten.key]]]) };
  const client = localWitnesses(policyOf(policyFor(witness, NOWHERE)), log.key.name, rewritten.source, [both]);
  const [answer] = await client.cosign(rewritten.noteAt(9), checkpointAt(9, rewritten));
  assert.deepEqual(answer?.signatures, []);
  assert.match(answer?.error ?? '', /status 422: .*not proven/);
  const stranger = sampleLog(3, 'x.example');
  const [unknown] = await localWitnesses(policyOf(policyFor(witness, NOWHERE)), 'x.example', stranger.source, [witness]).cosign(
    stranger.noteAt(3),
    checkpointAt(3, stranger),
  );
  assert.match(unknown?.error ?? '', /status 404/);
});

test('localWitnesses: a witness that cannot keep its state gives no cosignature and no checkpoint, and says why', async () => {
  const cells = memoryCells();
  const swap = (): boolean => {
    throw new Error('the disk is gone');
  };
  const witness = memoryWitness('w.example/1', [log.key], { ...cells, swap });
  const client = localWitnesses(policyOf(policyFor(witness, NOWHERE)), log.key.name, log.source, [witness]);
  assert.deepEqual(await cosignAt(client, 3), [{ name: 'e+m', signatures: [], error: 'the disk is gone' }]);
  const damaged = memoryWitness('w.example/1', [log.key]);
  addCheckpoint(damaged, await log.request(0, 3));
  for (const name of damaged.cells.names()) damaged.cells.swap(name, damaged.cells.get(name), '{}');
  const [latest] = await localWitnesses(policyOf(policyFor(damaged, NOWHERE)), log.key.name, log.source, [damaged]).latest();
  assert.ok(latest?.note instanceof LockstepError && latest.note.code === 'FETCH_FAILED');
  assert.match(latest.note.message, /w\.example\/1 of this process: What this witness has kept of a log is damaged/);
});

test('localWitnesses asks those of this process directly and all others over HTTP; a log publishes with both', async () => {
  const near = memoryWitness('near.example', [LOG_KEY]);
  const far = memoryWitness('far.example', [LOG_KEY]);
  const server = witnessServer(far, fail);
  try {
    const url = await listen(server);
    const key = formatVerifierKey;
    // The near one has no address at all.
    const text = `witness n ${key(near.mlDsa.key)}\nwitness f ${key(far.ed25519.key)} ${url}\ngroup both all n f\nquorum both\n`;
    const home = memoryHome(emptyDisk(), { witnessPolicy: text });
    const client = localWitnesses(policyOf(text), home.origin, home.source, [near]);
    const sequencer = await openSequencer(home, client);
    assert.equal(await sequencer.append(document('a')), 0);
    assert.match(sequencer.published(), /near\.example/);
    assert.match(sequencer.published(), /far\.example/);
    assert.equal((await client.latest()).length, 2);
  } finally {
    await stop(server);
  }
});

test('localWitnesses takes only a key of the policy for a witness of this process, whatever that calls itself', async () => {
  const witness = memoryWitness('w.example/1', [log.key]);
  const namesake = memoryWitness('w.example/1', [log.key]);
  const client = localWitnesses(policyOf(policyFor(witness, NOWHERE)), log.key.name, log.source, [namesake]);
  const [answer] = await cosignAt(client, 3);
  assert.deepEqual(answer?.signatures, []);
  assert.match(answer?.error ?? '', /fetch failed/);
  assert.deepEqual(namesake.cells.names(), [], 'it was not asked');
});
