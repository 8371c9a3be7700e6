/**
 * What is kept in the store of its own: the last signed checkpoint and the digest of the group that led to it.
 * Whoever swaps it has decided the order; everything public follows from it and can be written again.
 */
import { oneOf, table, text } from '@lockstep/protocol/decode/decode';
import type { Checkpoint } from '@lockstep/protocol/checkpoint/checkpoint';
import { openLogCheckpoint } from '@lockstep/protocol/checkpoint/open';
import { isSha256, type Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { canonicalText } from '@lockstep/protocol/json/canonical';
import { parseJson } from '@lockstep/protocol/json/parse';
import type { VerifierKey } from '@lockstep/protocol/note/verifier-key';

export interface SequencedState {
  readonly checkpoint: Checkpoint;
  /** The note with the log's own signature alone. */
  readonly note: string;
  readonly staged: Sha256;
}

export const STATE_CELL = 'checkpoint';

const decode = table({
  schema: oneOf(['lockstep-log-state/v1'] as const),
  note: text('a signed note', () => true, 10_000),
  staged: text('a SHA-256', isSha256, 64),
});

export function formatState(note: string, staged: Sha256): string {
  return canonicalText({ schema: 'lockstep-log-state/v1', note, staged });
}

/** @throws LockstepError LOG_CORRUPT */
export function parseState(cell: string, key: VerifierKey): SequencedState {
  try {
    const decoded = decode(parseJson(cell, 'the state of the log'), []);
    if (!decoded.ok) throw new TypeError(decoded.issues.map((issue) => `expected ${issue.expected}`).join('; '));
    const { note, staged } = decoded.value;
    if (formatState(note, staged as Sha256) !== cell) throw new TypeError('it is not canonical');
    return { checkpoint: openLogCheckpoint(note, key).checkpoint, note, staged: staged as Sha256 };
  } catch (error) {
    throw new LockstepError(
      'LOG_CORRUPT',
      `The kept checkpoint is damaged: ${error instanceof Error ? error.message : String(error)}`,
      'Restore the cell from a backup that is as new as the published checkpoint; an older one would fork the log.',
    );
  }
}
