/** One message, rule by rule (spec/serial.md, "One message"): the sender's half and the receiver's half. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { askingReceives, startAsking } from './asking.ts';
import { CHUNK_BYTES, type Data, type Frame, type Offer } from './frame.ts';
import { newFrameQueue } from './frame-queue.ts';
import { type Inbox, inboxFor, receivedData } from './inbox.ts';
import { linePair } from './line-samples.ts';
import { acknowledged, newOutbox, type Outbox, offered, resumed, type Sent } from './outbox.ts';

const MESSAGE = Uint8Array.from({ length: 20 * CHUNK_BYTES - 1000 }, (_, index) => index % 251);
const OFFER = offered(newOutbox('host', MESSAGE, null)).out[0] as Offer;
const numbers = ({ out }: Sent): number[] => out.map((frame) => (frame.kind === 'data' ? frame.number : -1));
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, index) => from + index);

function sending(from = 0): Outbox {
  return resumed(newOutbox('host', MESSAGE, null), from).outbox;
}

function data(number: number, bytes = MESSAGE.subarray(number * CHUNK_BYTES, (number + 1) * CHUNK_BYTES)): Data {
  return { kind: 'data', from: 'host', tag: OFFER.tag, number, bytes };
}

/** What the inbox wants after each of these chunks; null where it says nothing. */
function wants(inbox: Inbox, chunks: readonly number[]): (number | null)[] {
  let state = inbox;
  return chunks.map((number) => {
    const received = receivedData(state, data(number));
    state = received.inbox;
    return received.ack ? state.next : null;
  });
}

test('resumed sends a window from the chunk that is wanted, once for an offer', () => {
  const outbox = newOutbox('host', MESSAGE, null);
  assert.deepEqual(numbers(resumed(outbox, 0)), range(0, 8));
  assert.deepEqual(numbers(resumed(outbox, 15)), range(15, 20));
  assert.deepEqual(numbers(resumed(outbox, 21)), []);
  assert.equal(resumed(outbox, 20).outbox.mode, 'done');
  assert.deepEqual(resumed(sending(), 3), { outbox: sending(), out: [] });
  assert.deepEqual(numbers(resumed(offered(sending(5)).outbox, 2)), range(2, 10));
});

test('acknowledged slides the window, goes back to a chunk that was lost, and ignores what is old or was never sent', () => {
  assert.deepEqual(numbers(acknowledged(sending(), 1)), [8]);
  assert.deepEqual(numbers(acknowledged(sending(), 8)), range(8, 16));
  assert.deepEqual(numbers(acknowledged(sending(), 0)), range(0, 8));
  assert.deepEqual(acknowledged(sending(), 9), { outbox: sending(), out: [] });
  assert.deepEqual(acknowledged(sending(5), 4), { outbox: sending(5), out: [] });
  const done = acknowledged(sending(15), 20);
  assert.deepEqual([done.outbox.mode, done.out], ['done', []]);
  assert.deepEqual(acknowledged(done.outbox, 20).out, []);
  const offering = offered(sending(5)).outbox;
  assert.deepEqual(acknowledged(offering, 6), { outbox: offering, out: [] }, 'what was under way before the offer');
});

test('receivedData acknowledges each chunk, and a gap once for each time that the sender passes it', () => {
  const inbox = inboxFor(OFFER, null);
  assert.deepEqual(wants(inbox, [0, 1, 2]), [1, 2, 3]);
  assert.deepEqual(wants(inbox, [0, 2, 3, 4]), [1, 1, null, null]);
  // Gone back, and chunk 1 was lost again.
  assert.deepEqual(wants(inbox, [0, 2, 3, 2, 3, 1, 2]), [1, 1, null, 1, null, 2, 3]);
  assert.deepEqual(wants(inbox, [0, 0, 1, 0]), [1, null, 2, null]);
});

test('receivedData takes a chunk only at its exact length, and the whole only with its SHA-256', () => {
  const inbox = inboxFor(OFFER, null);
  for (const length of [1, CHUNK_BYTES - 1]) assert.deepEqual(receivedData(inbox, data(0, MESSAGE.subarray(0, length))).inbox, inbox);
  assert.deepEqual(receivedData(inbox, data(20, Uint8Array.of(1))).inbox, inbox);
  let all = inbox;
  for (const number of range(0, 19)) all = receivedData(all, data(number)).inbox;
  assert.deepEqual(receivedData(all, data(19, new Uint8Array(CHUNK_BYTES))).ended, null);
  assert.deepEqual(receivedData(all, data(19)).ended, { message: MESSAGE });
  assert.equal(receivedData(all, data(19, new Uint8Array(24))).ended, 'damaged');
});

test('inboxFor keeps the part of the same message and of no other', () => {
  const part = receivedData(inboxFor(OFFER, null), data(0)).inbox;
  assert.equal(inboxFor(OFFER, part).next, 1);
  assert.equal(inboxFor({ ...OFFER, size: OFFER.size - 1 }, part).next, 0);
  assert.equal(inboxFor({ ...OFFER, digest: '0'.repeat(64) }, part).next, 0);
});

test('askingReceives takes "busy" for the whole request having arrived', () => {
  const { asking } = startAsking(MESSAGE);
  const busy: Frame = { kind: 'busy', from: 'node', tag: OFFER.tag };
  assert.equal(askingReceives(asking, busy).asking.outbox.mode, 'done');
  assert.equal(askingReceives(asking, { ...busy, tag: '0'.repeat(16) }).asking.outbox.mode, 'offering');
});

test('newFrameQueue drops what a stuck line has no room for', async () => {
  const pair = linePair();
  const open = Promise.withResolvers<void>();
  let writes = 0;
  const write = async (): Promise<void> => {
    writes++;
    await open.promise;
  };
  const queue = newFrameQueue({ ...pair.host, write });
  for (let times = 0; times < 1000; times++) queue.send([OFFER]);
  assert.equal(queue.idle(), false);
  open.resolve();
  while (!queue.idle()) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(writes <= 66, `${writes}`);
});
