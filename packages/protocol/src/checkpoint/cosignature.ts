/** C2SP tlog-cosignature: what a witness signs, with Ed25519 and with ML-DSA-44. */
import { toUtf8 } from '../bytes/utf8.ts';
import type { Checkpoint } from './checkpoint.ts';
import { formatCheckpointText } from './checkpoint.ts';

/** "Ed25519 signed message": two lines, then the text of the note. @param time seconds since 1970 */
export function ed25519CosignatureMessage(checkpoint: Checkpoint, time: number): Uint8Array {
  return toUtf8(`cosignature/v1\ntime ${time}\n${formatCheckpointText(checkpoint)}`);
}

/** "ML-DSA-44 signed message": `cosigned_message` over the whole tree. Extension lines are not covered. */
export function mlDsaCosignatureMessage(cosigner: string, checkpoint: Checkpoint, time: number): Uint8Array {
  const name = toUtf8(cosigner);
  const origin = toUtf8(checkpoint.origin);
  if (name.length < 1 || name.length > 255 || origin.length < 1 || origin.length > 255) throw new TypeError('a name has 1 to 255 bytes');
  return Uint8Array.from([
    ...toUtf8('subtree/v1\n\0'),
    name.length,
    ...name,
    ...uint64(time),
    origin.length,
    ...origin,
    ...uint64(0),
    ...uint64(checkpoint.size),
    ...checkpoint.root,
  ]);
}

/** The end of the year 9999: what no calendar can show is no time. */
const LAST_TIME = 253_402_300_799;

/** `timestamped_signature`. */
export function formatTimestamped(time: number, signature: Uint8Array): Uint8Array {
  return Uint8Array.from([...uint64(time), ...signature]);
}

/** null when the time is not a whole number of seconds that a double holds, or the length is another. */
export function parseTimestamped(bytes: Uint8Array, signatureBytes: number): { time: number; signature: Uint8Array } | null {
  if (bytes.length !== 8 + signatureBytes) return null;
  const time = bytes.subarray(0, 8).reduce((sum, byte) => sum * 256 + byte, 0);
  return time > 0 && time <= LAST_TIME ? { time, signature: bytes.slice(8) } : null;
}

/** Big-endian. */
function uint64(value: number): Uint8Array {
  const out = new Uint8Array(8);
  let rest = value;
  for (let at = 7; at >= 0; at--) {
    out[at] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return out;
}
