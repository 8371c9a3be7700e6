/**
 * Deals ambient conditions to the builders of a round, so that any two differ in as much as possible and a disagreement
 * narrows the suspects at once. Pure: the same definition, round and builders get the same deal, which anyone can check.
 *
 * An ambient fact with as many levels as there are builders gives each a level of its own: it separates every pair. One
 * with two levels splits the builders in two; the splits of such facts are all different as long as there are enough of
 * them, so that whoever disagrees points at few.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { toHex } from '../bytes/hex.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import type { Json } from '../json/parse.ts';

/** For each varied ambient fact the level that one builder gets; what is missing is as it is on its machine. */
export type Ambient = Readonly<Record<string, Json>>;

const DAY = 86_400;

/** The clock moves by a time that changes year, month, day, weekday, hour, minute and second: the builder's number times this. */
const CLOCK_STEP = 398 * DAY + 7 * 3600 + 13 * 60 + 5;

/** Level 0 is the machine as it is. */
const MANY: Readonly<Record<string, (level: number) => Json>> = {
  /** Seconds by which the wall clock is ahead. */
  clock: (level) => level * CLOCK_STEP,
  'cpu-model': (level) => `Lockstep Imaginary CPU ${level} @ ${level}.00GHz`,
  /** MiB. */
  memory: (level) => 3001 + 509 * (level - 1),
  /** Busy processes beside the build. */
  load: (level) => level,
};

const TWO: Readonly<Record<string, Json>> = { 'directory-order': 'reverse', 'address-layout': 'random', kernel: '2.6' };

export const DEALT_FACTS: readonly string[] = [...Object.keys(MANY), ...Object.keys(TWO)];

export interface Deal {
  readonly key: string;
  readonly ambient: Ambient;
}

/** @param keys ids of the builders' keys; their order does not matter */
export function dealVariations(buildId: string, round: number, keys: readonly string[]): Deal[] {
  // Who gets which number depends on the round, so that rounds seldom repeat each other's conditions.
  const order = [...new Set(keys)].sort((a, b) => compare(rank(buildId, round, a), rank(buildId, round, b)));
  return order.map((key, number) => ({ key, ambient: { ...manyLevels(number), ...twoLevels(number, order.length) } }));
}

function manyLevels(number: number): Record<string, Json> {
  return number === 0 ? {} : Object.fromEntries(Object.entries(MANY).map(([name, level]) => [name, level(number)]));
}

function twoLevels(number: number, builders: number): Record<string, Json> {
  const splits = builders > MOST_SPLIT ? null : splitsOf(builders);
  const isVaried = (at: number): boolean =>
    splits === null ? Math.floor(number / 2 ** at) % 2 === 1 : ((splits[at % splits.length] ?? 0) & (1 << number)) !== 0;
  return Object.fromEntries(Object.entries(TWO).flatMap(([name, value], at) => (isVaried(at) ? [[name, value]] : [])));
}

/** All splits of more builders would be too many to look at; the halves by each bit of a builder's number do as well. */
const MOST_SPLIT = 12;

/** Ways to split builders in two, as sets of bits without the first builder, the most even first: those separate most pairs. */
function splitsOf(builders: number): number[] {
  if (builders < 2) return [0];
  const all = Array.from({ length: 2 ** (builders - 1) - 1 }, (_, at) => (at + 1) * 2);
  const score = (mask: number): number => {
    const ones = popCount(mask);
    return ones * (builders - ones);
  };
  return all.sort((a, b) => score(b) - score(a) || a - b);
}

function popCount(mask: number): number {
  let count = 0;
  for (let rest = mask; rest > 0; rest = Math.floor(rest / 2)) count += rest % 2;
  return count;
}

function rank(buildId: string, round: number, key: string): string {
  return toHex(sha256(toUtf8(`lockstep-deal/v1\n${buildId}\n${round}\n${key}\n`)));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
