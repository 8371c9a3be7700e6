/** `lockstep quorum open|close|decide`: what a coordinator does. Each is a signed document in the log. */
import { signDocument } from '@lockstep/builder/attest/sign-document';
import { CLOSING, OPENING, OUTCOME } from '@lockstep/protocol/commitment/documents';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { canonicalText } from '@lockstep/protocol/json/canonical';
import type { Json } from '@lockstep/protocol/json/parse';
import { redecide } from '@lockstep/protocol/quorum/redecide';
import { dealVariations } from '@lockstep/protocol/variation/deal';
import { appendTo } from '../../farm-log.ts';
import { runVerb } from '../../session.ts';
import { buildIdOf, decisionData, describe, exitOf } from './explain.ts';
import { placeOf, type RoundOptions } from './round-place.ts';

export function quorumOpen(what: string, options: RoundOptions & { readonly minutes: string }): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    const minutes = Number(options.minutes);
    if (!(minutes > 0 && minutes < 1_000_000))
      throw new LockstepError('USAGE', `--minutes ${options.minutes} is no time`, 'Give the minutes for which commitments are waited for.');
    const place = await placeOf(context, options, buildIdOf(what));
    const number = (place.round?.opening.round ?? 0) + 1;
    const builders = place.policy.builders;
    const deals = dealVariations(
      place.id,
      number,
      builders.map((one) => one.key.id),
    );
    const opening = {
      schema: 'lockstep-opening/v1' as const,
      build_id: place.id,
      round: number,
      policy: { version: place.policy.version, sha256: place.policy.sha256 },
      log: place.home.origin,
      commit_by: new Date((context.now() + minutes * 60) * 1000).toISOString().replace(/\.\d+Z$/, 'Z'),
      roster: builders.map((one) => ({
        builder: one.name,
        key: one.key.id,
        ambient: { ...deals.find((deal) => deal.key === one.key.id)?.ambient },
      })),
    };
    const [appended] = await appendTo(place.home, [signDocument(coordinatorKey(options), OPENING, opening)]);
    print(
      [
        `round ${number} of build ${place.id}, entry ${appended?.index ?? ''}, commitments until ${opening.commit_by}`,
        ...opening.roster.map(
          (one) =>
            `  ${one.builder}: ${
              Object.entries(one.ambient)
                .map(([fact, level]) => `${fact}=${JSON.stringify(level)}`)
                .join(', ') || 'as it is'
            }`,
        ),
      ].join('\n'),
      { schema: 'lockstep-quorum-open/v1', index: appended?.index ?? null, opening },
    );
    return 0;
  });
}

export function quorumClose(what: string, options: RoundOptions): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    const { home, id, round } = await placeOf(context, options, buildIdOf(what));
    if (round === null || round.phase !== 'committing')
      throw new LockstepError('ROUND_REFUSED', 'There is no round that waits for commitments', 'All have committed, or none was opened.');
    const waiting = round.participants.filter((one) => one.state === 'waiting').map((one) => one.builder);
    if (Date.parse(round.opening.commit_by) > context.now() * 1000)
      throw new LockstepError(
        'ROUND_REFUSED',
        `Round ${round.opening.round} waits for ${waiting.join(', ')} until ${round.opening.commit_by}`,
        'Close it after that.',
      );
    const [appended] = await appendTo(home, [
      signDocument(coordinatorKey(options), CLOSING, {
        schema: 'lockstep-closing/v1',
        build_id: id,
        round: round.opening.round,
        opening: round.digest,
      }),
    ]);
    print(`round ${round.opening.round} is closed for commitments, entry ${appended?.index ?? ''}; not committed: ${waiting.join(', ')}`, {
      schema: 'lockstep-quorum-close/v1',
      index: appended?.index ?? null,
      waiting,
    });
    return 0;
  });
}

/** Positive or negative, the outcome is signed and logged. */
export function quorumDecide(what: string, options: RoundOptions): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    const { home, id, policy, entries, size } = await placeOf(context, options, buildIdOf(what));
    const decided = redecide(policy, entries, id);
    if (decided === null)
      throw new LockstepError('ROUND_REFUSED', 'No builder has revealed a statement about this build', 'Wait for the reveals.');
    const { decision } = decided;
    const [appended] = await appendTo(home, [
      signDocument(coordinatorKey(options), OUTCOME, {
        schema: 'lockstep-outcome/v1',
        build_id: id,
        round: decision.round,
        log: { origin: home.origin, size },
        decision: JSON.parse(canonicalText(JSON.parse(JSON.stringify(decision)) as Json)) as Json,
      }),
    ]);
    print([...describe(decision), `logged as entry ${appended?.index ?? ''}`].join('\n'), {
      ...decisionData(decision),
      index: appended?.index ?? null,
    });
    return exitOf(decision);
  });
}

function coordinatorKey(options: RoundOptions): string {
  return options.key ?? `${options.policy}/keys/coordinator.pem`;
}
