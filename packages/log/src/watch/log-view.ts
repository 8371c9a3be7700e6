/** A log as somebody sees it from outside: its checkpoint opened with the key that one trusts. */
import type { VerifierKey } from '@lockstep/protocol/note/verifier-key';
import { type OpenedCheckpoint, openLogCheckpoint } from '@lockstep/protocol/checkpoint/open';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { fromUtf8 } from '@lockstep/protocol/bytes/utf8';
import { type LogSource, MAX_CHECKPOINT_BYTES } from '../source/log-source.ts';

export interface LogView extends OpenedCheckpoint {
  /** The signed note, verbatim. */
  readonly text: string;
}

/** @throws LockstepError FILE_NOT_FOUND when nothing was published yet; NOTE_INVALID, CHECKPOINT_INVALID */
export async function viewLog(source: LogSource, key: VerifierKey, witnesses: readonly VerifierKey[] = []): Promise<LogView> {
  const bytes = await source.read('checkpoint', MAX_CHECKPOINT_BYTES);
  if (bytes === null)
    throw new LockstepError('FILE_NOT_FOUND', `${source.name} has no checkpoint`, 'Nothing was published there yet, or it is no log.');
  return { ...openLogCheckpoint(bytes, key, witnesses), text: fromUtf8(bytes) ?? '' };
}
