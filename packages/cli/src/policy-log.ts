/** A log, or a mirror of it, as a policy sees it: the key comes from the policy, and so do the witnesses that it has to have. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Policy } from '@lockstep/protocol/policy/policy';
import { witnessing, witnessKeys } from '@lockstep/protocol/policy/witnessing';
import { parseNote } from '@lockstep/protocol/note/note';
import { type LogSource, logSource, MAX_CHECKPOINT_BYTES } from '@lockstep/log/source/log-source';
import { viewLog } from '@lockstep/log/watch/log-view';
import type { OpenedLog } from './farm-log.ts';

/** @throws LockstepError CHECKPOINT_INVALID, NOTE_INVALID, WITNESSES_MISSING */
export function openPolicyLog(policy: Policy, where: string): Promise<OpenedLog> {
  return viewPolicyLog(policy, logSource(where));
}

/** @throws LockstepError CHECKPOINT_INVALID, NOTE_INVALID, WITNESSES_MISSING */
export async function viewPolicyLog(policy: Policy, source: LogSource): Promise<OpenedLog> {
  const bytes = await source.read('checkpoint', MAX_CHECKPOINT_BYTES);
  if (bytes === null)
    throw new LockstepError('FILE_NOT_FOUND', `${source.name} has no checkpoint`, 'Nothing was published there yet, or it is no log.');
  const origin = parseNote(bytes).text.split('\n')[0];
  const log = policy.logs.find((one) => one.key.name === origin);
  if (log === undefined)
    throw new LockstepError(
      'CHECKPOINT_INVALID',
      `${source.name} is the log ${JSON.stringify(origin)}, which the policy does not name`,
      `It names ${policy.logs.map((one) => one.key.name).join(', ') || 'none'}.`,
    );
  const view = await viewLog(source, log.key, witnessKeys(policy));
  const seen = witnessing(policy, log, view.signedBy);
  if (!seen.met)
    throw new LockstepError(
      'WITNESSES_MISSING',
      `Too few witnesses that count have cosigned the checkpoint of ${log.key.name}: ${seen.names.join(', ') || 'none'}`,
      'Do not rely on it: others may be shown another. Get it from a mirror.',
    );
  return { source, key: log.key, view };
}
