/** Frames that are nearly right, thrown at reader and machines. 10^5 by default, more with LOCKSTEP_FRAMES=1000000. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { mutate, randomFrom } from '@lockstep/protocol/bytes/mutation-samples';
import fc from 'fast-check';
import { type Answering, answeringReceives, answerReady, NOTHING_YET } from './answering.ts';
import { type Asking, askingReceives, startAsking } from './asking.ts';
import { encodeFrame, type Frame, MAX_MESSAGE_BYTES } from './frame.ts';
import { newFrameReader } from './frame-reader.ts';
import { frameArbitrary } from './frame-samples.ts';
import { sha256 } from './outbox.ts';

const FRAMES = Number(process.env['LOCKSTEP_FRAMES'] ?? 100_000);

test(`${FRAMES} frames, right, nearly right and wrong: nothing throws, nothing is made up, and the link still works`, () => {
  const random = randomFrom(FRAMES);
  const request = Buffer.alloc(3000, 'request');
  const digests = new Set<string>([sha256(request)]);
  const examples = [...fc.sample(frameArbitrary, { numRuns: 200, seed: 1 }), ...conversation(request)];
  const encoded = examples.map(encodeFrame);
  const [reader, again] = [newFrameReader(), newFrameReader()];
  let asking: Asking = startAsking(request).asking;
  let answering: Answering = NOTHING_YET;
  let parsed = 0;

  for (let count = 0; count < FRAMES; count++) {
    const bytes = random(2) === 0 ? encoded[random(encoded.length)]! : mutate(encoded, random);
    for (const frame of reader.read(bytes)) {
      parsed++;
      assert.deepEqual(again.read(encodeFrame(frame)), [frame]);
      if (frame.kind === 'offer') digests.add(frame.digest);
      const asked = askingReceives(asking, frame);
      asking = asked.asking.ended === null ? asked.asking : startAsking(request).asking;
      if (asked.asking.ended !== null && 'answer' in asked.asking.ended) assert.ok(digests.has(sha256(asked.asking.ended.answer)));
      const answered = answeringReceives(answering, frame);
      answering = answered.answering;
      if (answered.request === null) continue;
      assert.ok(digests.has(sha256(answered.request)));
      answering = answerReady(answering, Buffer.from('an answer')).answering;
    }
    assert.ok((answering.inbox?.size ?? 0) <= MAX_MESSAGE_BYTES);
  }
  assert.ok(parsed > FRAMES / 4, `${parsed} parsed`);

  const last = Buffer.from('after all that');
  let { out, asking: state } = startAsking(last);
  let handled = 0;
  for (let turn = 0; state.ended === null && turn < 10; turn++) {
    const back: Frame[] = [];
    for (const frame of reader.read(Buffer.concat(out.map(encodeFrame)))) {
      const got = answeringReceives(answering, frame);
      answering = got.answering;
      back.push(...got.out);
      if (got.request === null) continue;
      handled++;
      const ready = answerReady(answering, Buffer.from('works'));
      answering = ready.answering;
      back.push(...ready.out);
    }
    out = [];
    for (const frame of again.read(Buffer.concat(back.map(encodeFrame)))) {
      const got = askingReceives(state, frame);
      state = got.asking;
      out = [...out, ...got.out];
    }
  }
  assert.deepEqual([state.ended, handled], [{ answer: new Uint8Array(Buffer.from('works')) }, 1]);
});

/** The frames of a whole exchange, so that the machines get deep. */
function conversation(request: Uint8Array): Frame[] {
  const all: Frame[] = [];
  let { out, asking } = startAsking(request);
  let answering = NOTHING_YET;
  while (out.length > 0) {
    const back: Frame[] = [];
    for (const frame of out) {
      const got = answeringReceives(answering, frame);
      const ready = got.request === null ? null : answerReady(got.answering, Buffer.from('an answer'));
      answering = ready?.answering ?? got.answering;
      back.push(...got.out, ...(ready?.out ?? []));
    }
    all.push(...out, ...back);
    out = [];
    for (const frame of back) {
      const got = askingReceives(asking, frame);
      asking = got.asking;
      out = [...out, ...got.out];
    }
  }
  return all;
}
