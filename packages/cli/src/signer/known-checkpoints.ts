/**
 * The newest checkpoint of each node's own log that was seen here. It travels with the next request, so that a node whose
 * disk was restored notices; and a node whose answers go back is noticed here.
 */
import type { Checkpoint } from '@lockstep/protocol/checkpoint/checkpoint';
import { openLogCheckpoint } from '@lockstep/protocol/checkpoint/open';
import { sha256Hex } from '@lockstep/protocol/digest/digest';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { sameHash } from '@lockstep/protocol/merkle/hash';
import { parseVerifierKey } from '@lockstep/protocol/note/verifier-key';
import type { Cells } from '@lockstep/store/cells';
import type { NodeCard } from './node-card.ts';

function cellOf(card: NodeCard): string {
  return `node-${sha256Hex(toUtf8(card.log))}`;
}

/** null when nothing was seen of it yet. */
export function knownCheckpoint(cells: Cells, card: NodeCard): string | null {
  return cells.get(cellOf(card));
}

/**
 * @param asked the checkpoint that the request had for this node
 * @throws LockstepError SIGNER_ROLLED_BACK when it shows less than it was shown, or another log than it has shown
 */
export function noteCheckpoint(cells: Cells, card: NodeCard, checkpoint: string, asked: string | null): void {
  const key = parseVerifierKey(card.log);
  const headOf = (text: string): Checkpoint => openLogCheckpoint(text, key).checkpoint;
  const head = headOf(checkpoint);
  const rolledBack = (why: string): LockstepError =>
    new LockstepError(
      'SIGNER_ROLLED_BACK',
      `${card.name} answers with ${head.size} entries in its log, ${why}`,
      'Its disk was restored, or somebody answers in its place. Do not use what it signs (docs/keys.md).',
    );
  const before = asked === null ? 0 : headOf(asked).size;
  if (head.size < before) throw rolledBack(`and has shown ${before}`);
  for (;;) {
    const text = cells.get(cellOf(card));
    const known = text === null ? null : headOf(text);
    if (known?.size === head.size && !sameHash(known.root, head.root)) throw rolledBack('and has shown another log of that size');
    // An answer that was carried by hand may come after a newer one: what is known stays the newest.
    if (known !== null && known.size >= head.size) return;
    if (cells.swap(cellOf(card), text, checkpoint)) return;
  }
}
