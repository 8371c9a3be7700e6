import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { openCheckpoint } from '@lockstep/protocol/checkpoint/open';
import { parseNote } from '@lockstep/protocol/note/note';
import type { Cells } from '@lockstep/store/cells';
import { hasty, listen, memoryCells, memoryWitness, sampleLog, stop } from './samples.ts';
import { witnessServer } from './server.ts';
import { openWitness } from './witness-home.ts';
import { addCheckpoint, cosignedCheckpoint, originHashOf } from './witness.ts';

const RACES = Number(process.env['LOCKSTEP_WITNESS_RACES'] ?? 1000);
const folder = mkdtempSync(`${tmpdir()}/lockstep-witness-`);
after(() => rmSync(folder, { recursive: true, force: true }));

const SIZE = 40;
const log = sampleLog(SIZE);

/** Cells in which something else happens between what a request has read and its swap. */
function interleaved(cells: Cells, between: () => void): Cells {
  let inside = false;
  return {
    ...cells,
    swap(name, expected, next) {
      if (!inside) {
        inside = true;
        try {
          between();
        } finally {
          inside = false;
        }
      }
      return cells.swap(name, expected, next);
    },
  };
}

const keptSize = (cells: Cells): number => (JSON.parse(cells.get(cells.names()[0] ?? '') ?? '{"size":0}') as { size: number }).size;

test(`addCheckpoint of N that is overtaken by N + k does not roll back (${RACES} races)`, async () => {
  const requests = new Map<string, Uint8Array>();
  for (let from = 0; from <= SIZE; from++) for (let to = from; to <= SIZE; to++) requests.set(`${from} ${to}`, await log.request(from, to));
  const witness = hasty(memoryWitness('w', [log.key]));
  const ask = (cells: Cells, from: number, to: number): { status: number; body: string } =>
    addCheckpoint({ ...witness, cells }, requests.get(`${from} ${to}`) ?? Buffer.alloc(0));
  for (let race = 0; race < RACES; race++) {
    const cells = memoryCells();
    const from = race % 11;
    if (from > 0) assert.equal(ask(cells, 0, from).status, 200);
    const slow = from + 1 + (race % 13);
    const quick = from + 1 + (Math.floor(race / 13) % 17);
    let other = 0;
    const reply = ask(
      interleaved(cells, () => {
        other = ask(cells, from, quick).status;
      }),
      from,
      slow,
    );
    assert.equal(other, 200, 'the quick one was first');
    // The one that was overtaken sees the newer state, even when that is the very same.
    assert.deepEqual([reply.status, reply.body], [409, `${quick}\n`], `${from} to ${slow}, overtaken by ${quick}`);
    assert.equal(keptSize(cells), quick);
  }
});

test('addCheckpoint that is overtaken by a cosignature of the same checkpoint is answered', async () => {
  const witness = hasty(memoryWitness('w', [log.key]));
  addCheckpoint(witness, await log.request(0, 5));
  const again = await log.request(5, 5);
  let clock = 1;
  const ticking = { ...witness, now: () => clock++ };
  let overtaken = 0;
  const cells = interleaved(witness.cells, () => {
    if (overtaken++ < 3) assert.equal(addCheckpoint(ticking, again).status, 200);
  });
  assert.equal(addCheckpoint({ ...ticking, cells }, again).status, 200);
  assert.equal(overtaken, 4);
});

test('addCheckpoint over HTTP: of many requests at once none is rolled back, and every cosignature given out stays true', async () => {
  const witness = openWitness(`${folder}/http`, 'w.example/1', [log.key], () => 1_800_000_000);
  const server = witnessServer(witness, (error) => assert.fail(String(error)));
  const url = await listen(server);
  try {
    let kept = 0;
    while (kept < SIZE) {
      const sizes = Array.from({ length: 12 }, (_, at) => Math.min(SIZE, kept + 1 + ((at * 5) % 9)));
      const replies = await Promise.all(
        sizes.map(async (to) => {
          const body = await log.request(kept, to);
          const response = await fetch(`${url}/add-checkpoint`, { method: 'POST', body: Buffer.from(body) });
          return { to, status: response.status, text: await response.text() };
        }),
      );
      const given = replies.filter(({ status }) => status === 200);
      const won = given[0]?.to ?? 0;
      assert.ok(won > kept);
      for (const { to, status, text } of replies)
        if (status === 200) {
          const opened = openCheckpoint(`${parseNote(log.noteAt(to)).text}\n${text}`, [witness.ed25519.key, witness.mlDsa.key]);
          assert.equal(opened.signedBy.length, 2);
        } else assert.equal(status, 409);
      assert.equal(given.length, 1, 'each of the others had read an older size');
      const note = await (await fetch(`${url}/${originHashOf(log.key.name)}/checkpoint`)).text();
      kept = openCheckpoint(note, [log.key]).checkpoint.size;
      assert.equal(kept, won);
    }
  } finally {
    await stop(server);
  }
});

class Killed extends Error {}

test('a witness that is killed at any step never contradicts, once it is opened again, what it has given out', async () => {
  const witness = memoryWitness('w', [log.key]);
  for (const mode of ['before', 'after'] as const)
    for (let n = 0, over = false; !over; n++) {
      const state = new Map<string, string>();
      const cells = memoryCells(state);
      let count = 0;
      const step = <T>(effect: () => T): T => {
        if (count++ !== n) return effect();
        if (mode === 'after') effect();
        throw new Killed();
      };
      const mortal: Cells = { ...cells, get: (name) => step(() => cells.get(name)), swap: (...args) => step(() => cells.swap(...args)) };
      let given = 0;
      try {
        for (const [from, to] of [
          [0, 3],
          [3, 9],
          [9, 9],
          [9, 20],
        ] as const) {
          assert.equal(addCheckpoint({ ...witness, cells: mortal }, await log.request(from, to)).status, 200);
          given = to;
        }
        over = true;
      } catch (error) {
        if (!(error instanceof Killed)) throw error;
      }
      const again = { ...witness, cells: memoryCells(state) };
      const kept = cosignedCheckpoint(again, originHashOf(log.key.name));
      assert.ok((kept === null ? 0 : openCheckpoint(kept, [log.key]).checkpoint.size) >= given);
      // Neither a smaller tree nor another one of the same size is cosigned any more.
      if (given === 0) continue;
      assert.equal(addCheckpoint(again, await log.request(0, given - 1)).status, 409);
      const rewritten = sampleLog(SIZE, log.key.name, (index) => `other ${index}`);
      const logs = new Map([[log.key.name, [log.key, rewritten.key]]]);
      for (let from = 0; from <= given; from++)
        assert.notEqual(addCheckpoint({ ...again, logs }, await rewritten.request(from, given)).status, 200);
    }
});
