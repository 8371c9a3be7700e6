/** Frames on their way into a line, in their order, each as soon as the line has room. */
import { encodeFrame, type Frame } from './frame.ts';
import type { Line } from './line.ts';

/** Some windows. What does not fit is dropped, as a line would: the host asks again. So a host that asks in a loop costs no memory. */
const MAX_WAITING = 64;

export interface FrameQueue {
  readonly send: (frames: readonly Frame[]) => void;
  /** Whether all was taken by the line. */
  readonly idle: () => boolean;
}

/** A line that is gone says so to those who listen to it; here its frames are just lost. */
export function newFrameQueue(line: Line): FrameQueue {
  let waiting: Frame[] = [];
  let writing = false;

  const drain = async (): Promise<void> => {
    writing = true;
    try {
      for (let frame = waiting.shift(); frame !== undefined; frame = waiting.shift()) await line.write(encodeFrame(frame));
    } catch {
      waiting = [];
    } finally {
      writing = false;
    }
  };

  return {
    send(frames) {
      waiting.push(...frames.slice(0, Math.max(0, MAX_WAITING - waiting.length)));
      if (!writing && waiting.length > 0) void drain();
    },
    idle: () => !writing,
  };
}
