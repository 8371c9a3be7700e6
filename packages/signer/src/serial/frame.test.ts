import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { CHUNK_BYTES, encodeFrame, END, ESCAPE, type Frame, MAX_MESSAGE_BYTES, XOFF, XON } from './frame.ts';
import { newFrameReader } from './frame-reader.ts';
import { frameArbitrary } from './frame-samples.ts';

const ACK: Frame = { kind: 'ack', from: 'node', tag: '0123456789abcdef', next: 7 };

function readAll(bytes: Uint8Array): { frames: Frame[]; noise: number } {
  const reader = newFrameReader();
  return { frames: reader.read(bytes), noise: reader.noise() };
}

/** A frame of any content, with a right checksum. */
function framed(letter: string, number: number, payload: Uint8Array): Uint8Array {
  const body = Buffer.concat([Buffer.from(letter), Buffer.from(ACK.tag, 'hex'), Buffer.of(number >> 8, number & 255), payload]);
  const crc = Buffer.alloc(4);
  crc.writeUInt32BE(crc32(body));
  const escaped = [...body, ...crc].flatMap((byte) => ([END, ESCAPE, XON, XOFF].includes(byte) ? [ESCAPE, byte ^ 0x20] : [byte]));
  return Uint8Array.of(END, ...escaped, END);
}

test('encodeFrame and newFrameReader agree, in any portions and with noise between frames', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(frameArbitrary, fc.uint8Array({ maxLength: 20 })), { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 20 }),
      (parts, portions) => {
        const bytes = Buffer.concat(parts.flatMap(([frame, noise]) => [encodeFrame(frame), noise.filter((byte) => byte !== END)]));
        const reader = newFrameReader();
        const frames: Frame[] = [];
        for (let at = 0, turn = 0; at < bytes.length; turn++) {
          const size = portions[turn % portions.length]!;
          frames.push(...reader.read(bytes.subarray(at, at + size)));
          at += size;
        }
        // What follows the last frame is not ended yet.
        assert.deepEqual(
          frames,
          parts.map(([frame]) => frame),
        );
      },
    ),
  );
});

test('encodeFrame never sends flow control, and END only at its ends', () => {
  fc.assert(
    fc.property(frameArbitrary, (frame) => {
      const bytes = encodeFrame(frame);
      assert.ok(!bytes.includes(XON) && !bytes.includes(XOFF));
      assert.ok(bytes[0] === END && bytes.at(-1) === END && !bytes.subarray(1, -1).includes(END));
    }),
  );
});

test('newFrameReader drops flow control that an adapter puts in', () => {
  const bytes = encodeFrame(ACK);
  assert.deepEqual(readAll(Uint8Array.of(XON, ...bytes.subarray(0, 5), XOFF, XON, ...bytes.subarray(5))).frames, [ACK]);
});

test('newFrameReader takes no frame with a bit flipped, a byte lost or doubled', () => {
  const bytes = encodeFrame(ACK);
  for (let at = 1; at < bytes.length - 1; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const flipped = Uint8Array.from(bytes);
      flipped[at]! ^= 1 << bit;
      assert.deepEqual(readAll(flipped).frames, [], `byte ${at}, bit ${bit}`);
    }
    assert.deepEqual(readAll(Uint8Array.of(...bytes.subarray(0, at), ...bytes.subarray(at + 1))).frames, []);
    assert.deepEqual(readAll(Uint8Array.of(...bytes.subarray(0, at), bytes[at]!, ...bytes.subarray(at))).frames, []);
  }
});

test('newFrameReader counts noise and finds the next frame after any of it', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3000 }), (noise) => {
      const { frames, noise: counted } = readAll(Buffer.concat([noise, encodeFrame(ACK)]));
      assert.deepEqual(frames, [ACK]);
      assert.equal(counted, noise.filter((byte) => byte !== END).length);
    }),
  );
});

test('newFrameReader accepts what the grammar allows and nothing beside it', () => {
  const offer = Buffer.concat([Buffer.of(1, 0, 0, 0, 9), Buffer.from(ACK.tag, 'hex'), Buffer.alloc(24), Buffer.alloc(32)]);
  const none = Buffer.alloc(0);
  const allowed: [string, number, Uint8Array][] = [
    ['O', 0, offer.subarray(0, 37)],
    ['o', 0, offer],
    ['O', 0, Buffer.of(2, 3, 4)],
    ['D', 8191, Buffer.alloc(CHUNK_BYTES)],
    ['d', 0, Buffer.alloc(1)],
    ['A', 8192, none],
    ['a', 0, none],
    ['h', 8192, none],
    ['H', 0, none],
    ['b', 0, none],
    ['r', 0, Buffer.of(5)],
  ];
  for (const [letter, number, payload] of allowed) assert.equal(readAll(framed(letter, number, payload)).frames.length, 1, letter);
  const refused: [string, number, Uint8Array][] = [
    ['O', 1, offer.subarray(0, 37)],
    ['O', 0, offer],
    ['o', 0, offer.subarray(0, 37)],
    ['O', 0, Buffer.concat([Buffer.of(1, 0, 0, 0, 9), Buffer.alloc(32, 7)])],
    ['O', 0, none],
    ['D', 8192, Buffer.alloc(1)],
    ['D', 0, none],
    ['D', 0, Buffer.alloc(CHUNK_BYTES + 1)],
    ['A', 8193, none],
    ['A', 0, Buffer.alloc(1)],
    ['h', 8193, none],
    ['H', 0, Buffer.alloc(1)],
    ['B', 0, none],
    ['b', 1, none],
    ['b', 0, Buffer.alloc(1)],
    ['R', 0, Buffer.of(1)],
    ['r', 0, Buffer.of(0)],
    ['r', 0, Buffer.of(6)],
    ['r', 1, Buffer.of(1)],
    ['r', 0, Buffer.of(1, 1)],
    ['x', 0, none],
    ['1', 0, none],
    ['\0', 0, none],
  ];
  for (const [letter, number, payload] of refused)
    assert.deepEqual(readAll(framed(letter, number, payload)).frames, [], `${letter} ${number} ${payload.length}`);
});

test('newFrameReader knows one spelling: what need not be escaped may not be', () => {
  const bytes = [...encodeFrame(ACK)];
  const letter = bytes[1]!;
  assert.deepEqual(readAll(Uint8Array.of(END, ESCAPE, letter ^ 0x20, ...bytes.slice(2))).frames, []);
  assert.deepEqual(readAll(Uint8Array.of(...bytes.slice(0, -1), ESCAPE, END)).frames, []);
  const escaped = [...encodeFrame({ ...ACK, tag: 'c0'.repeat(8) })];
  const at = escaped.indexOf(ESCAPE);
  assert.equal(readAll(Uint8Array.from(escaped)).frames.length, 1);
  assert.deepEqual(readAll(Uint8Array.from(escaped.toSpliced(at, 0, ESCAPE))).frames, []);
});

test('spec/serial.md begins with an exchange as it goes over the line, and states the limits', () => {
  const page = readFileSync(`${import.meta.dirname}/../../../../spec/serial.md`, 'utf8');
  const example = /^```text\n([\s\S]*?)^```$/m.exec(page)?.[1];
  assert.ok(example !== undefined, 'Begin spec/serial.md with an example');
  const lines = example.split('\n').filter((line) => /^(?:host|node) {2}/.test(line));
  const kinds = lines.map((line) => {
    const { frames, noise } = readAll(Buffer.from(line.slice(6).replaceAll(' ', ''), 'hex'));
    assert.equal(noise, 0, line);
    assert.equal(frames.length, 1, line);
    assert.equal(frames[0]?.from, line.slice(0, 4), line);
    return frames[0]?.kind;
  });
  assert.deepEqual(kinds, ['offer', 'have', 'data', 'ack', 'busy', 'offer', 'have', 'data', 'ack']);
  for (const limit of [MAX_MESSAGE_BYTES, CHUNK_BYTES]) assert.ok(page.includes(limit.toLocaleString('en')), `${limit}`);
});
