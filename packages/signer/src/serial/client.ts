/** The host's end of the line: sends a request to a signing node and brings its answer back (spec/serial.md, "The host"). */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type Asked, type Asking, type Failure, askingReceives, askingStalled, startAsking } from './asking.ts';
import { type Clock, MONOTONIC } from './clock.ts';
import { CHUNK_BYTES, MAX_MESSAGE_BYTES } from './frame.ts';
import { newFrameQueue } from './frame-queue.ts';
import { newFrameReader } from './frame-reader.ts';
import { sizeAllowed } from './inbox.ts';
import type { Line } from './line.ts';

/** Longer than a full frame takes at 9,600 baud (1.1 s), so that a slow line is not taken for a silent one. */
export const STALL_MS = 1500;
/** Nothing at all from a node for so long: it is off, or the cable is out and nobody puts it back. */
export const SILENCE_SECONDS = 60;
const TICK_MS = 100;

export interface AskProgress {
  /** Bytes of the request that the node has, of `size`. */
  readonly sent: number;
  readonly size: number;
  /** Bytes of the answer that are here; null until the node has one. */
  readonly received: number | null;
}

export interface AskOptions {
  /** For all of it, a person who is asked included. */
  readonly timeoutSeconds: number;
  readonly silenceSeconds?: number;
  readonly onProgress?: (progress: AskProgress) => void;
  readonly clock?: Clock;
}

/**
 * Asking again with the same bytes goes on where it stopped: the node keeps what it has of them, and the last answer.
 * The line stays open.
 * @throws LockstepError LINK_FAILED
 */
export async function askOverSerial(line: Line, request: Uint8Array, options: AskOptions): Promise<Uint8Array> {
  if (!sizeAllowed(request.length))
    throw linkFailed(
      `A request of ${request.length} bytes does not go over a serial line`,
      `At most ${MAX_MESSAGE_BYTES} bytes do, and at least one. Carry it by hand as files, or leave evidence out that the policy does not ask for.`,
    );
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const { clock = MONOTONIC, silenceSeconds = SILENCE_SECONDS, timeoutSeconds, onProgress } = options;
  const reader = newFrameReader();
  const queue = newFrameQueue(line);
  const begun = clock.now();
  let moved = begun;
  let heard = begun;
  const first = startAsking(request);
  let state = first.asking;

  const follow = (asked: Asked): void => {
    if (asked.heard) heard = moved = clock.now();
    const before = state;
    state = asked.asking;
    queue.send(asked.out);
    if (onProgress !== undefined && (before.outbox.acked !== state.outbox.acked || before.inbox !== state.inbox))
      onProgress(progress(state));
    if (state.ended === null) return;
    if ('answer' in state.ended) resolve(state.ended.answer);
    else reject(refusedBy(state.ended.failed));
  };
  const tick = (): void => {
    const now = clock.now();
    if (now - begun >= timeoutSeconds * 1000) reject(timedOut(state, timeoutSeconds));
    else if (now - heard >= silenceSeconds * 1000) reject(silent(state, silenceSeconds, reader.noise()));
    else if (now - moved >= STALL_MS && queue.idle()) {
      moved = now;
      follow(askingStalled(state));
    }
  };
  // The last acknowledgement is for the node's eyes only: nothing waits for it.
  const ends = [
    line.onData((bytes) => {
      for (const frame of reader.read(bytes)) follow(askingReceives(state, frame));
    }),
    line.onEnd((reason) =>
      reject(linkFailed(`The serial line ended: ${reason}`, 'Check the cable and ask again: it goes on where it stopped.')),
    ),
    clock.every(TICK_MS, tick),
  ];
  try {
    follow(first);
    return await promise;
  } finally {
    for (const end of ends) end();
  }
}

function progress({ outbox, inbox }: Asking): AskProgress {
  const size = outbox.bytes.length;
  const received = inbox === null ? null : Math.min(inbox.size, inbox.next * CHUNK_BYTES);
  return { sent: Math.min(size, outbox.acked * CHUNK_BYTES), size, received };
}

function refusedBy(reason: Failure): LockstepError {
  if (reason === 'version')
    return linkFailed('The signing node speaks another version of the serial protocol', 'Put the same release of lockstep on both sides.');
  if (reason === 'no answer')
    return linkFailed('The signing node has no answer to this request', 'Look at the node: its own output says why.');
  return linkFailed(
    `The transfer was refused (${reason})`,
    'Something else writes to this line, or the other side is no signing node: end other programs that use it (fuser shows them).',
  );
}

function timedOut(state: Asking, seconds: number): LockstepError {
  const where =
    state.inbox !== null ? 'its answer was on the way' : state.outbox.mode === 'done' ? 'it was at work' : 'the request was on the way';
  return linkFailed(`The signing node did not answer within ${seconds} seconds; ${where}`, 'Ask again: it goes on where it stopped.');
}

function silent(state: Asking, seconds: number, noise: number): LockstepError {
  if (state.echoed)
    return linkFailed(
      'The serial line only gives back what is sent',
      'It is looped, or a terminal with echo is at the other end: start "lockstep signer run" there.',
    );
  return linkFailed(
    `Nothing was heard from the signing node for ${seconds} seconds${noise > 0 ? `, only ${noise} bytes that are not its protocol` : ''}`,
    'Check that the node runs, the cable, and that both sides have the same speed.',
  );
}

function linkFailed(message: string, hint: string): LockstepError {
  return new LockstepError('LINK_FAILED', message, hint);
}
