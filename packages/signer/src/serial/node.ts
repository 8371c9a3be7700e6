/** The node's end of the line: takes one request at a time to a handler and sends its answer (spec/serial.md, "The node"). */
import { type Answered, type Answering, answeringReceives, answerReady, NOTHING_YET, stillBusy } from './answering.ts';
import { type Clock, MONOTONIC } from './clock.ts';
import type { Frame } from './frame.ts';
import { newFrameQueue } from './frame-queue.ts';
import { newFrameReader } from './frame-reader.ts';
import type { Line } from './line.ts';

/** Shorter than the host's STALL_MS, so that it need not ask while the node is at work. */
const BUSY_MS = 1000;

/** What outlives a line: a part of a request, the one at work, the last answer. One node has one. */
export interface SerialMemory {
  state: Answering;
  send: (frames: readonly Frame[]) => void;
  /** The handler's work, until it is done. */
  work: Promise<void>;
}

export function newSerialMemory(): SerialMemory {
  return { state: NOTHING_YET, send: () => {}, work: Promise.resolve() };
}

export interface ServeOptions {
  /** For a line that was gone and is back (an adapter pulled out): goes on where it stopped. */
  readonly memory?: SerialMemory;
  readonly clock?: Clock;
  /** A handler that failed: the host only hears that there is no answer. */
  readonly onFailure?: (error: unknown) => void;
}

export interface Serving {
  /** Resolves with the reason when the line is gone, or when `stop` was called. */
  readonly ended: Promise<string>;
  /** Takes no more frames; resolves when the request at work is done. The line stays open. */
  stop(): Promise<void>;
}

export function serveSerial(line: Line, handler: (request: Uint8Array) => Promise<Uint8Array>, options: ServeOptions = {}): Serving {
  const { memory = newSerialMemory(), clock = MONOTONIC, onFailure = () => {} } = options;
  const reader = newFrameReader();
  const queue = newFrameQueue(line);
  const ended = Promise.withResolvers<string>();
  memory.send = queue.send;

  const follow = ({ answering, out, request }: Answered): void => {
    memory.state = answering;
    memory.send(out);
    if (request !== null) memory.work = handle(request);
  };
  // The line may have gone and come back meanwhile: the answer goes into the memory, and out to whatever line there is.
  const handle = async (request: Uint8Array): Promise<void> => {
    const answer = await answerOf(handler, request, onFailure);
    follow(answerReady(memory.state, answer));
  };
  const end = (reason: string): void => {
    for (const one of ends) one();
    if (memory.send === queue.send) memory.send = () => {};
    ended.resolve(reason);
  };
  const ends = [
    line.onData((bytes) => {
      for (const frame of reader.read(bytes)) follow(answeringReceives(memory.state, frame));
    }),
    clock.every(BUSY_MS, () => {
      if (queue.idle()) queue.send(stillBusy(memory.state));
    }),
  ];
  ends.push(line.onEnd(end));
  return {
    ended: ended.promise,
    stop: async () => {
      end('stopped');
      await memory.work;
    },
  };
}

async function answerOf(
  handler: (request: Uint8Array) => Promise<Uint8Array>,
  request: Uint8Array,
  onFailure: (error: unknown) => void,
): Promise<Uint8Array | null> {
  try {
    return await handler(request);
  } catch (error) {
    onFailure(error);
    return null;
  }
}
