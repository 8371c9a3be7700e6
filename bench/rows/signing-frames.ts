/** A million random frames against the reader of a serial line; and a million well-formed ones that nobody meant against a node. */
import { randomFrom } from '@lockstep/protocol/bytes/mutation-samples';
import { type Answering, answeringReceives, NOTHING_YET } from '@lockstep/signer/serial/answering';
import { CHUNK_BYTES, encodeFrame, END, type Frame, MAX_BODY_BYTES, MAX_MESSAGE_BYTES, tagOf } from '@lockstep/signer/serial/frame';
import { newFrameReader } from '@lockstep/signer/serial/frame-reader';
import { type FigureRow, figureRow, meterSideBySide } from '../figures.ts';
import { BenchError, type Checkpoint } from '../measure.ts';
import type { Place } from '../place.ts';

const FRAMES = 1_000_000;
/** Lengths as on a line: most are acknowledgements of 17 bytes, every fourth is up to a whole chunk. */
const SHORT = 17;
/** Made before the time is taken, this many at a time. */
const BATCH = 2000;

export async function signingFrames(_place: Place, runs: number, checkpoint: Checkpoint): Promise<FigureRow[]> {
  const metered = await meterSideBySide(
    [
      { name: 'random bytes between delimiters: none was a frame', take: (run) => Promise.resolve(randomBodies(run)) },
      { name: 'right checksum, random content: none became a request', take: (run) => Promise.resolve(randomFrames(run)) },
    ],
    runs,
    checkpoint,
  );
  return [
    figureRow('A million random frames through the reader: bounded by a look at each byte', '/s', metered, 'frames'),
    figureRow('… in bytes', 'MB/s', metered, 'bytes'),
  ];
}

function randomBodies(run: number): Record<string, number> {
  const random = randomFrom(run + 1);
  const reader = newFrameReader();
  const noise = Uint8Array.from({ length: 1 << 20 }, () => random(256)).map((byte) => (byte === END ? 0 : byte));
  const make = (): Uint8Array => {
    const length = 1 + (random(4) === 0 ? random(MAX_BODY_BYTES) : random(SHORT));
    const from = random(noise.length - length);
    // Where a frame begins with a letter of the grammar, only its checksum is in the way.
    const body = Buffer.from(noise.subarray(from, from + length));
    body.writeUInt8('odhabrODHABR'.charCodeAt(random(12)), 0);
    return body;
  };
  return measured(run, make, (bytes) => {
    // Of a billion of them one has the right checksum by chance; then the run is to be looked at.
    if (reader.read(bytes).length > 0) throw new BenchError('random bytes were taken for a frame');
  });
}

function randomFrames(run: number): Record<string, number> {
  const random = randomFrom(run + 1);
  const reader = newFrameReader();
  let state: Answering = NOTHING_YET;
  let taken = 0;
  const tags = Array.from({ length: 8 }, (_, at) => at.toString(16).repeat(64));
  const make = (): Uint8Array => {
    const digest = tags[random(tags.length)] ?? '';
    const bytes = encodeFrame(frameOf(random, digest));
    return bytes.subarray(1, -1);
  };
  const rates = measured(run, make, (bytes) => {
    for (const frame of reader.read(bytes)) {
      taken++;
      const got = answeringReceives(state, frame);
      state = got.answering;
      if (got.request !== null) throw new BenchError('a message was made of random frames');
    }
  });
  if (taken !== countOf(run)) throw new BenchError(`${taken} of ${countOf(run)} good frames were read`);
  return rates;
}

/** Few tags, and chunks mostly in order, so that messages are nearly completed. */
function frameOf(random: (below: number) => number, digest: string): Frame {
  const tag = tagOf(digest);
  const kind = random(8);
  const size = 1 + (random(4) === 0 ? random(MAX_MESSAGE_BYTES) : random(2 * CHUNK_BYTES));
  if (kind === 0) return { kind: 'offer', from: 'host', tag, size, digest, request: null };
  if (kind === 1) return { kind: 'ack', from: 'host', tag, next: random(4) };
  if (kind === 2) return { kind: 'have', from: 'host', tag, next: random(4) };
  const length = random(4) === 0 ? CHUNK_BYTES : 1 + random(SHORT);
  return { kind: 'data', from: 'host', tag, number: random(3), bytes: new Uint8Array(length).fill(random(256)) };
}

function countOf(run: number): number {
  return run === 0 ? 10 * BATCH : FRAMES;
}

function measured(run: number, make: () => Uint8Array, feed: (bytes: Uint8Array) => void): Record<string, number> {
  const delimiter = Uint8Array.of(END);
  let milliseconds = 0;
  let bytes = 0;
  for (let done = 0; done < countOf(run); done += BATCH) {
    const all = Array.from({ length: BATCH }, () => Buffer.concat([delimiter, make(), delimiter]));
    const start = performance.now();
    for (const one of all) feed(one);
    milliseconds += performance.now() - start;
    bytes += all.reduce((sum, one) => sum + one.length, 0);
  }
  return { frames: (countOf(run) / milliseconds) * 1000, bytes: bytes / 1000 / milliseconds };
}
