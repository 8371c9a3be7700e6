/** Inputs for parsers that are nearly right: valid examples with bytes, runs and lines changed, left out, doubled and mixed. */
import { toUtf8 } from './utf8.ts';

/** Characters that mean something in one of the formats, or look like one that does. */
const TELLING = [...'0123456789abcfxAZ+/=-_ \n\t\r"{}[]:,\\.#—\u2028\u00a0\ufeff\u0000\u007f\u0085'].map((one) => toUtf8(one));
const WORDS = [
  '9007199254740991',
  '9007199254740992',
  '18446744073709551616',
  '00',
  '-0',
  '1e3',
  '\n\n',
  '—  ',
  '__proto__',
  '\\ud800',
  'none',
].map(toUtf8);

/** Numbers from a seed (mulberry32), so that a failure can be had again. */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296) * below);
  };
}

/** @param random numbers from 0 to below its argument */
export function mutate(examples: readonly Uint8Array[], random: (below: number) => number): Uint8Array {
  const pick = <T>(from: readonly T[]): T => {
    const found = from[random(from.length)];
    if (found === undefined) throw new TypeError('nothing to pick from');
    return found;
  };
  const noise = (length: number): Uint8Array => Uint8Array.from({ length }, () => random(256));
  if (random(20) === 0) return noise(random(80));
  let bytes = pick(examples);
  const splice = (start: number, remove: number, insert: Uint8Array): void => {
    const out = new Uint8Array(bytes.length - remove + insert.length);
    out.set(bytes.subarray(0, start));
    out.set(insert, start);
    out.set(bytes.subarray(start + remove), start + insert.length);
    bytes = out;
  };
  const run = (): [start: number, length: number] => {
    const start = random(bytes.length + 1);
    const length = Math.min(random(4) === 0 ? random(bytes.length + 1) : random(8), bytes.length - start);
    return [start, length];
  };
  const line = (): [start: number, length: number] => {
    const ends = [0, ...[...bytes.keys()].filter((at) => bytes[at] === 10).map((at) => at + 1), bytes.length];
    const at = random(ends.length - 1);
    return [ends[at] ?? 0, (ends[at + 1] ?? 0) - (ends[at] ?? 0)];
  };
  for (let left = 1 + random(random(3) === 0 ? 4 : 1); left > 0; left--) {
    // The ends are where a check is forgotten.
    const at = [bytes.length, 0][random(12)] ?? random(bytes.length + 1);
    const [start, length] = random(3) === 0 ? line() : run();
    const copied = bytes.slice(start, start + length);
    const operations: readonly (() => void)[] = [
      () =>
        bytes.length === 0 ? undefined : splice(Math.min(at, bytes.length - 1), 1, Uint8Array.of((bytes[at] ?? 0) ^ (1 << random(8)))),
      () => splice(Math.min(at, Math.max(0, bytes.length - 1)), Math.min(1, bytes.length), pick(TELLING)),
      () => splice(at, 0, pick(TELLING)),
      () => splice(at, 0, pick(WORDS)),
      () => splice(start, length, new Uint8Array(0)),
      () => splice(start, length, pick(WORDS)),
      () => splice(at, 0, copied),
      () => splice(start + length, 0, copied),
      () => {
        splice(start, length, new Uint8Array(0));
        splice(random(bytes.length + 1), 0, copied);
      },
      () => {
        const other = pick(examples);
        const from = random(other.length + 1);
        splice(at, random(2) === 0 ? bytes.length - at : 0, other.slice(from, random(2) === 0 ? other.length : from + random(40)));
      },
      () => splice(at, 0, noise(1 + random(4))),
      () => {
        bytes = bytes.slice(0, at);
      },
    ];
    pick(operations)();
  }
  return bytes;
}
