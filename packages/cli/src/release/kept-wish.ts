/** What was asked for about a build: asked again, the record is the same, and a node that has signed it signs it again. */
import { nullable, oneOf, table, text } from '@lockstep/protocol/decode/decode';
import { parseJson } from '@lockstep/protocol/json/parse';
import type { ReleaseWish } from '@lockstep/protocol/release/release-record';
import { tufSeconds, tufTime } from '@lockstep/protocol/tuf/metadata';
import type { Cells } from '@lockstep/store/cells';

const decode = table({
  schema: oneOf(['lockstep-release-wish/v1'] as const),
  line: text('a line', (value) => value !== '', 40),
  time: tufTime,
  previous: nullable(text('a SHA-256', (value) => /^[0-9a-f]{64}$/.test(value), 64)),
});

/** Nodes refuse a release that was prepared more than 30 days ago. */
const KEPT_DAYS = 25;

/** @param now seconds since 1970 */
export function keptWish(cells: Cells, buildId: string, now: number): ReleaseWish | null {
  const before = cells.get(cellOf(buildId));
  const decoded = before === null ? null : decode(parseJson(before, 'release that was asked for'), []);
  if (decoded?.ok !== true || tufSeconds(decoded.value.time) < now - KEPT_DAYS * 86_400) return null;
  const { line, time, previous } = decoded.value;
  return { line, time, previous };
}

export function keepWish(cells: Cells, buildId: string, wish: ReleaseWish): void {
  const before = cells.get(cellOf(buildId));
  // Somebody else who asks at the same time keeps theirs.
  cells.swap(cellOf(buildId), before, JSON.stringify({ schema: 'lockstep-release-wish/v1', ...wish }));
}

function cellOf(buildId: string): string {
  return `release-${buildId}`;
}
