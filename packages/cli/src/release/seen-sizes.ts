/** How much of a log each node has seen, by what its answers said: so that the next request proves that the log goes on from there. */
import { integer, list, oneOf, table, text } from '@lockstep/protocol/decode/decode';
import { sha256Hex } from '@lockstep/protocol/digest/digest';
import { parseJson } from '@lockstep/protocol/json/parse';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import type { SigningRecord } from '@lockstep/protocol/signing/record';
import type { Cells } from '@lockstep/store/cells';
import type { NodeCard } from '../signer/node-card.ts';

const decode = table({
  schema: oneOf(['lockstep-seen-sizes/v1'] as const),
  logs: list(table({ origin: text('an origin', () => true, 255), size: integer(0, Number.MAX_SAFE_INTEGER) }), 1000),
});

function cellOf(card: NodeCard): string {
  return `node-sizes-${sha256Hex(toUtf8(card.log))}`;
}

function read(cells: Cells, card: NodeCard): { text: string | null; logs: readonly { readonly origin: string; readonly size: number }[] } {
  const text_ = cells.get(cellOf(card));
  const decoded = text_ === null ? null : decode(parseJson(text_, 'sizes seen'), []);
  return { text: text_, logs: decoded?.ok === true ? decoded.value.logs : [] };
}

export function seenSizes(cells: Cells, cards: readonly NodeCard[], origin: string): number[] {
  return [
    ...new Set(
      cards.flatMap((card) =>
        read(cells, card)
          .logs.filter((one) => one.origin === origin)
          .map((one) => one.size),
      ),
    ),
  ];
}

export function noteSizes(cells: Cells, card: NodeCard, { learned }: SigningRecord): void {
  if (learned === null) return;
  const { origin, size } = learned.log;
  for (;;) {
    const { text: before, logs } = read(cells, card);
    const next = JSON.stringify({
      schema: 'lockstep-seen-sizes/v1',
      logs: [...logs.filter((one) => one.origin !== origin), { origin, size }],
    });
    if (before === next || cells.swap(cellOf(card), before, next)) return;
  }
}
