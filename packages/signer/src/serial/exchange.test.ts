/** The two pure machines against each other, over a line that damages what it carries (spec/serial.md). No I/O and no time. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { randomFrom } from '@lockstep/protocol/bytes/mutation-samples';
import fc from 'fast-check';
import { type Answering, answeringReceives, answerReady, NOTHING_YET, stillBusy } from './answering.ts';
import { type Asking, askingReceives, askingStalled, MAX_DAMAGED, startAsking } from './asking.ts';
import { CHUNK_BYTES, encodeFrame, type Frame, MAX_MESSAGE_BYTES, tagOf } from './frame.ts';
import { newFrameReader } from './frame-reader.ts';
import { frameArbitrary } from './frame-samples.ts';
import { newOutbox, offered, sha256, WINDOW_CHUNKS } from './outbox.ts';

type Random = (below: number) => number;
type Damage = (bytes: Uint8Array, random: Random) => Uint8Array;

const cutOut = (bytes: Uint8Array, random: Random): [number, number] => {
  const start = random(bytes.length + 1);
  return [start, start + random(bytes.length - start + 1)];
};
/** Each done to a portion of up to a few frames. */
const DAMAGE: Readonly<Record<string, Damage>> = {
  'bit flips': (bytes, random) => {
    const out = Uint8Array.from(bytes);
    for (let left = 1 + random(4); left > 0 && out.length > 0; left--) {
      const at = random(out.length);
      out[at] = out[at]! ^ (1 << random(8));
    }
    return out;
  },
  'bytes lost': (bytes, random) => {
    const [start, end] = cutOut(bytes, random);
    return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]);
  },
  'bytes doubled': (bytes, random) => {
    const [start, end] = cutOut(bytes, random);
    return Buffer.concat([bytes.subarray(0, end), bytes.subarray(start)]);
  },
  'bytes reordered': (bytes, random) => {
    const [start, end] = cutOut(bytes, random);
    return Buffer.concat([bytes.subarray(start, end), bytes.subarray(0, start), bytes.subarray(end)]);
  },
  truncated: (bytes, random) => bytes.subarray(0, random(bytes.length + 1)),
  'noise put in': (bytes, random) => {
    const at = random(bytes.length + 1);
    const noise = Uint8Array.from({ length: random(60) }, () => random(256));
    return Buffer.concat([bytes.subarray(0, at), noise, bytes.subarray(at)]);
  },
  'all lost': () => new Uint8Array(0),
};

interface Run {
  readonly asking: Asking;
  readonly answering: Answering;
  readonly handled: readonly Uint8Array[];
  readonly steps: number;
}

/** Carries the bytes of both sides in portions, some damaged by `damage` while `noisy` holds, until the host's side has ended. */
function exchange(
  request: Uint8Array,
  answer: Uint8Array,
  random: Random,
  damage: (bytes: Uint8Array, step: number) => Uint8Array,
  start: Answering,
  limit: number,
): Run {
  let { asking, out } = startAsking(request);
  let answering = start;
  const handled: Uint8Array[] = [];
  const [atNode, atHost] = [newFrameReader(), newFrameReader()];
  let toHost: Buffer = Buffer.alloc(0);
  const encode = (frames: readonly Frame[]): Buffer => Buffer.concat(frames.map(encodeFrame));
  let toNode = encode(out);
  let steps = 0;
  for (; asking.ended === null && steps < limit; steps++) {
    if (toNode.length + toHost.length === 0) {
      // A quiet line: the handler is done by now, or the host asks again.
      if (answering.handling !== null && random(3) > 0) {
        const ready = answerReady(answering, answer);
        answering = ready.answering;
        toHost = encode(ready.out);
      } else if (answering.handling !== null && random(2) === 0) toHost = encode(stillBusy(answering));
      else {
        const stalled = askingStalled(asking);
        asking = stalled.asking;
        toNode = encode(stalled.out);
      }
    }
    const portion = 1 + random(3 * CHUNK_BYTES);
    const [forNode, forHost] = [toNode.subarray(0, portion), toHost.subarray(0, portion)];
    toNode = toNode.subarray(portion);
    toHost = toHost.subarray(portion);
    for (const frame of atNode.read(damage(forNode, steps))) {
      const got = answeringReceives(answering, frame);
      answering = got.answering;
      if (got.request !== null) handled.push(got.request);
      toHost = Buffer.concat([toHost, encode(got.out)]);
    }
    for (const frame of atHost.read(damage(forHost, steps))) {
      const got = askingReceives(asking, frame);
      asking = got.asking;
      toNode = Buffer.concat([toNode, encode(got.out)]);
    }
  }
  return { asking, answering, handled, steps };
}

function bytesOf(length: number, random: Random): Uint8Array {
  return Uint8Array.from({ length }, () => random(256));
}

test('an exchange over any damage: the exact message or nothing, and the exact message once the noise is over', () => {
  const kinds = Object.values(DAMAGE);
  fc.assert(
    fc.property(
      fc.nat(),
      fc.integer({ min: 1, max: 30_000 }),
      fc.integer({ min: 1, max: 12_000 }),
      fc.integer({ min: 1, max: 10 }),
      fc.array(fc.nat(kinds.length - 1), { minLength: 1, maxLength: 3 }),
      (seed, requestSize, answerSize, oneIn, chosen) => {
        const random = randomFrom(seed);
        const [request, answer] = [bytesOf(requestSize, random), bytesOf(answerSize, random)];
        const noisySteps = 300;
        const damage = (bytes: Uint8Array, step: number): Uint8Array =>
          step < noisySteps && random(oneIn) === 0 ? kinds[chosen[random(chosen.length)]!]!(bytes, random) : bytes;
        const run = exchange(request, answer, random, damage, NOTHING_YET, 2000);
        assert.deepEqual(run.asking.ended, { answer }, `after ${run.steps} steps`);
        assert.deepEqual(run.handled, [request], 'handled exactly once');
        // The same link goes on with the next request.
        const [second, reply] = [bytesOf(3000, random), bytesOf(2000, random)];
        const next = exchange(second, reply, random, (bytes) => bytes, run.answering, 200);
        assert.deepEqual([next.asking.ended, next.handled], [{ answer: reply }, [second]]);
      },
    ),
    { numRuns: 300 },
  );
});

for (const [name, damage] of Object.entries(DAMAGE)) {
  test(`an exchange over a line where one portion in four suffers from: ${name}`, () => {
    const random = randomFrom(name.length);
    const [request, answer] = [bytesOf(200_000, random), bytesOf(60_000, random)];
    const run = exchange(request, answer, random, (bytes) => (random(4) === 0 ? damage(bytes, random) : bytes), NOTHING_YET, 20_000);
    assert.deepEqual(run.asking.ended, { answer });
    assert.equal(run.handled.length, 1);
  });
}

test('an exchange of the largest messages', () => {
  const random = randomFrom(1);
  const [request, answer] = [new Uint8Array(MAX_MESSAGE_BYTES).fill(0x7d), new Uint8Array(MAX_MESSAGE_BYTES).fill(0xc0)];
  const run = exchange(request, answer, random, (bytes) => bytes, NOTHING_YET, 100_000);
  assert.deepEqual(run.asking.ended, { answer });
});

test('a node that lost its memory gets the request again; a host that restarts goes on where the node is', () => {
  const random = randomFrom(2);
  const [request, answer] = [bytesOf(50_000, random), bytesOf(20_000, random)];
  // The line is dead after some steps: the host gives up.
  const broken = exchange(request, answer, random, (bytes, step) => (step < 20 ? bytes : new Uint8Array(0)), NOTHING_YET, 40);
  assert.equal(broken.asking.ended, null);
  const had = broken.answering.inbox?.next ?? 0;
  assert.ok(had > 5, `${had} chunks`);
  const seen: number[] = [];
  let { asking, out } = startAsking(request);
  let answering = broken.answering;
  for (let frames = out; frames.length > 0; ) {
    const back: Frame[] = [];
    for (const frame of frames) {
      if (frame.kind === 'data') seen.push(frame.number);
      const got = answeringReceives(answering, frame);
      answering = got.answering;
      back.push(...got.out);
    }
    out = [];
    for (const frame of back) {
      const got = askingReceives(asking, frame);
      asking = got.asking;
      out = [...out, ...got.out];
    }
    frames = out;
  }
  assert.deepEqual(
    seen,
    Array.from({ length: 49 - had }, (_, index) => had + index),
    'nothing that was acknowledged is sent again',
  );
  const forgot = exchange(request, answer, random, (bytes) => bytes, NOTHING_YET, 1000);
  assert.deepEqual(forgot.asking.ended, { answer });
});

test('askingReceives and answeringReceives survive any frames in any order, and give out only what was offered', () => {
  const request = Buffer.from('the request');
  const mine = fc.constantFrom<Frame>(
    { kind: 'busy', from: 'node', tag: tagOf(sha256(request)) },
    { kind: 'have', from: 'node', tag: tagOf(sha256(request)), next: 0 },
    { kind: 'have', from: 'node', tag: tagOf(sha256(request)), next: 1 },
    { kind: 'ack', from: 'node', tag: tagOf(sha256(request)), next: 0 },
    { kind: 'ack', from: 'node', tag: tagOf(sha256(request)), next: 1 },
    ...offered(newOutbox('node', Buffer.from('an answer'), sha256(request))).out,
    { kind: 'data', from: 'node', tag: tagOf(sha256(Buffer.from('an answer'))), number: 0, bytes: Buffer.from('an answer') },
    { kind: 'data', from: 'node', tag: tagOf(sha256(Buffer.from('an answer'))), number: 0, bytes: Buffer.from('no answer') },
    ...startAsking(request).out,
    { kind: 'data', from: 'host', tag: tagOf(sha256(request)), number: 0, bytes: request },
    { kind: 'data', from: 'host', tag: tagOf(sha256(request)), number: 0, bytes: Buffer.from('THE request') },
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(mine, frameArbitrary), { maxLength: 60 }), (frames) => {
      let { asking } = startAsking(request);
      let answering = NOTHING_YET;
      for (const frame of frames) {
        const asked = askingReceives(asking, frame);
        const answered = answeringReceives(answering, frame);
        asking = asked.asking;
        answering = answered.answering;
        assert.ok(asked.out.length <= WINDOW_CHUNKS && answered.out.length <= WINDOW_CHUNKS);
        if (answered.request !== null) {
          assert.deepEqual(answered.request, new Uint8Array(request));
          answering = answerReady(answering, Buffer.from('an answer')).answering;
        }
      }
      if (asking.ended !== null && 'answer' in asking.ended) assert.equal(Buffer.from(asking.ended.answer).toString(), 'an answer');
    }),
    { numRuns: 1000 },
  );
});

test('askingReceives gives up after an answer that is damaged again and again', () => {
  const request = Buffer.from('the request');
  const digest = sha256(Buffer.from('an answer'));
  const offer: Frame = { kind: 'offer', from: 'node', tag: tagOf(digest), digest, size: 9, request: sha256(request) };
  const data: Frame = { kind: 'data', from: 'node', tag: tagOf(digest), number: 0, bytes: Buffer.from('no answer') };
  let { asking } = startAsking(request);
  for (let times = 0; times <= MAX_DAMAGED; times++) {
    assert.equal(asking.ended, null);
    asking = askingReceives(askingReceives(asking, offer).asking, data).asking;
  }
  assert.deepEqual(asking.ended, { failed: 'answer damaged' });
});

test('answeringReceives refuses a size out of bounds, another version, and a second request while one is at work', () => {
  const reasons = (answering: Answering, frame: Frame): unknown[] =>
    answeringReceives(answering, frame).out.map((out) => (out.kind === 'refuse' ? out.reason : out.kind));
  const digest = sha256(Buffer.from('x'));
  const offer: Frame = { kind: 'offer', from: 'host', tag: tagOf(digest), digest, size: 1, request: null };
  assert.deepEqual(reasons(NOTHING_YET, { ...offer, size: 0 }), ['size']);
  assert.deepEqual(reasons(NOTHING_YET, { ...offer, size: MAX_MESSAGE_BYTES + 1 }), ['size']);
  assert.deepEqual(reasons(NOTHING_YET, { ...offer, size: MAX_MESSAGE_BYTES }), ['have']);
  assert.deepEqual(reasons(NOTHING_YET, { kind: 'foreign', from: 'host', tag: offer.tag, version: 9 }), ['version']);
  const working: Answering = { ...NOTHING_YET, handling: sha256(Buffer.from('y')) };
  assert.deepEqual(reasons(working, offer), ['occupied']);
  assert.deepEqual(reasons({ ...NOTHING_YET, handling: digest }, offer), ['have', 'busy']);
});
