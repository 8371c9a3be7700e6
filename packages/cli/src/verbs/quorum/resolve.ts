/** `lockstep quorum resolve`: an arbiter's word on a disagreement, with its reason, in the log. */
import { signDocument } from '@lockstep/builder/attest/sign-document';
import { RESOLUTION } from '@lockstep/protocol/commitment/documents';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { redecide } from '@lockstep/protocol/quorum/redecide';
import { appendTo } from '../../farm-log.ts';
import { runVerb } from '../../session.ts';
import { buildIdOf } from './explain.ts';
import { placeOf, type RoundOptions } from './round-place.ts';

export function quorumResolve(what: string, options: RoundOptions & { readonly accept: string; readonly reason: string }): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    const { home, id, policy, entries } = await placeOf(context, options, buildIdOf(what));
    const decision = redecide(policy, entries, id)?.decision;
    if (decision === undefined || decision.dispute === null)
      throw new LockstepError('ROUND_REFUSED', 'There is no disagreement about this build', 'Look at it: lockstep quorum.');
    const group =
      options.accept === 'none' ? null : decision.groups.find((one) => one.digest.startsWith(options.accept) && options.accept.length >= 8);
    if (group === undefined)
      throw new LockstepError(
        'USAGE',
        `--accept ${options.accept} names none of the results`,
        `They are ${decision.groups.map((one) => one.digest).join(', ')}, or none.`,
      );
    if (options.key === undefined) throw new LockstepError('USAGE', 'Whose word is it?', 'Give the arbiter’s key with --key FILE.');
    const [appended] = await appendTo(home, [
      signDocument(options.key, RESOLUTION, {
        schema: 'lockstep-resolution/v1',
        build_id: id,
        dispute: decision.dispute,
        accept: group?.digest ?? null,
        reason: options.reason,
      }),
    ]);
    print(`logged as entry ${appended?.index ?? ''}`, {
      schema: 'lockstep-quorum-resolve/v1',
      index: appended?.index ?? null,
      dispute: decision.dispute,
    });
    return 0;
  });
}
