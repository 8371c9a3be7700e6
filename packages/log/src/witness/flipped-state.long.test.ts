import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { openCheckpoint } from '@lockstep/protocol/checkpoint/open';
import { memoryCells, memoryWitness, sampleLog } from './samples.ts';
import { addCheckpoint, cosignedCheckpoint, originHashOf, type Witness } from './witness.ts';

const log = sampleLog(12);
const rewritten = sampleLog(12, log.key.name, (index) => `other ${index}`);
const witness = memoryWitness('w.example/1', [log.key]);
assert.equal(addCheckpoint(witness, await log.request(0, 7)).status, 200);
const name = witness.cells.names()[0] ?? '';
const kept = Buffer.from(witness.cells.get(name) ?? '');

/** Every byte of the size, the root and the schema, and some of the note, which is mostly one long signature. */
const places = Array.from(kept.keys()).filter((at) => (at < 250 ? at % 5 === 0 : at > kept.length - 160 || at % 97 === 0));

function flipped(at: number): Witness {
  const bytes = Buffer.from(kept);
  bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 7));
  return { ...witness, cells: memoryCells(new Map([[name, bytes.toString('utf8')]])) };
}

const statusOf = (one: Witness, body: Uint8Array): number | string => {
  try {
    return addCheckpoint(one, body).status;
  } catch (error) {
    assert.ok(error instanceof LockstepError, String(error));
    return error.code;
  }
};

test('addCheckpoint never cosigns another history, whichever byte of its state was flipped', async () => {
  const requests = await Promise.all([0, 3, 5, 6, 7].flatMap((from) => [7, 12].map((to) => rewritten.request(from, to))));
  for (const at of places) {
    const one = flipped(at);
    const logs = new Map([[log.key.name, [log.key, rewritten.key]]]);
    for (const body of requests) assert.notEqual(statusOf({ ...one, logs }, body), 200, `byte ${at}`);
  }
});

test('cosignedCheckpoint shows the note that was cosigned, or says that the state is damaged', () => {
  const note = cosignedCheckpoint(witness, originHashOf(log.key.name)) ?? '';
  const keys = [log.key, witness.ed25519.key];
  assert.equal(openCheckpoint(note, keys).signedBy.length, 2);
  const wrong: number[] = [];
  for (const at of places)
    try {
      if (cosignedCheckpoint(flipped(at), originHashOf(log.key.name)) !== note) wrong.push(at);
    } catch (error) {
      assert.ok(error instanceof LockstepError);
    }
  assert.deepEqual(wrong, [], 'a damaged note is not shown as what was cosigned');
});
