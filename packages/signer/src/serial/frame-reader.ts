/** Finds frames in bytes that arrive in any portions, with noise between and within (spec/serial.md, "Frames"). Holds one frame. */
import { END, ESCAPE, FLIP, type Frame, MAX_BODY_BYTES, parseBody, XOFF, XON } from './frame.ts';

export interface FrameReader {
  /** The frames that these bytes complete. Never throws. */
  read(bytes: Uint8Array): Frame[];
  /** Bytes so far that were part of no frame, those of one that is not complete included. */
  noise(): number;
}

export function newFrameReader(): FrameReader {
  const body = new Uint8Array(MAX_BODY_BYTES);
  let length = 0;
  let raw = 0;
  let escaped = false;
  let spoilt = false;
  let noise = 0;

  const finish = (): Frame | null => {
    const frame = spoilt || escaped || raw === 0 ? null : parseBody(body.subarray(0, length));
    if (frame === null) noise += raw;
    length = 0;
    raw = 0;
    escaped = false;
    spoilt = false;
    return frame;
  };
  const take = (byte: number): void => {
    raw++;
    if (spoilt) return;
    if (byte === ESCAPE) {
      // Twice in a row stands for nothing.
      spoilt = escaped;
      escaped = true;
      return;
    }
    const value = escaped ? unescaped(byte) : byte;
    escaped = false;
    if (value === null || length === body.length) spoilt = true;
    else body[length++] = value;
  };

  return {
    read(bytes) {
      const frames: Frame[] = [];
      for (const byte of bytes) {
        if (byte === END) {
          const frame = finish();
          if (frame !== null) frames.push(frame);
        } else if (byte === XON || byte === XOFF) noise++;
        else take(byte);
      }
      return frames;
    },
    noise: () => noise + raw,
  };
}

/** Only what had to be escaped may be: a frame has one spelling. */
function unescaped(byte: number): number | null {
  const value = byte ^ FLIP;
  return value === END || value === ESCAPE || value === XON || value === XOFF ? value : null;
}
