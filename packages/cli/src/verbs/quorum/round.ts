/** `lockstep quorum open|commit|close|reveal|resolve|decide`: the steps of a round, each a signed document in the log. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { Context } from '@lockstep/builder/context';
import { openAttestationKey } from '@lockstep/builder/attest/key';
import { signDocument } from '@lockstep/builder/attest/sign-document';
import { commitmentOf } from '@lockstep/protocol/commitment/commit';
import { CLOSING, COMMITMENT, OPENING, OUTCOME, RESOLUTION, REVEAL } from '@lockstep/protocol/commitment/documents';
import type { Round } from '@lockstep/protocol/commitment/round';
import { type Sha256, digestBytes, isSha256 } from '@lockstep/protocol/digest/digest';
import { pae, parseEnvelope } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { canonicalText } from '@lockstep/protocol/json/canonical';
import type { Json } from '@lockstep/protocol/json/parse';
import { publicKeyFromSpki, verifyP256 } from '@lockstep/protocol/key/p256';
import { type Policy } from '@lockstep/protocol/policy/policy';
import { readClaim } from '@lockstep/protocol/quorum/claim';
import { redecide, roundOf } from '@lockstep/protocol/quorum/redecide';
import { dealVariations } from '@lockstep/protocol/variation/deal';
import { openLogHome, type LogHome } from '@lockstep/log/sequence/log-home';
import { type AboutBuild, entriesAbout } from '@lockstep/log/watch/entries-about';
import { viewLog } from '@lockstep/log/watch/log-view';
import { appendTo, witnessKeysOf } from '../../farm-log.ts';
import { readNamedFile } from '../../read-file.ts';
import { type CommonOptions, runVerb } from '../../session.ts';
import { policyFrom } from '../policy/explain.ts';
import { buildIdOf, decisionData, describe, exitOf } from './explain.ts';

export interface RoundOptions extends CommonOptions {
  readonly policy: string;
  readonly root?: string;
  readonly log: string;
  readonly key?: string;
}

interface Place {
  readonly context: Context;
  readonly policy: Policy;
  readonly home: LogHome;
  readonly id: string;
  readonly entries: readonly AboutBuild[];
  /** The newest round; null when none was opened. */
  readonly round: Round | null;
  readonly size: number;
}

async function placeOf(context: Context, options: RoundOptions, id: string): Promise<Place> {
  const policy = policyFrom(context, options.policy, options.root);
  const home = openLogHome(options.log);
  const empty = !existsSync(`${home.root}/public/checkpoint`);
  const view = empty ? null : await viewLog(home.source, home.key, witnessKeysOf(home));
  const entries = view === null ? [] : await entriesAbout(home.source, view, id);
  return { context, policy, home, id, entries, round: roundOf(policy, entries, id), size: view?.checkpoint.size ?? 0 };
}

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

/** The salt stays in the builder's store until it reveals. */
export function quorumCommit(attestation: string, options: RoundOptions): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    const { statement, id, keyFile, key } = ownStatement(context, attestation, options);
    const { home, round } = await placeOf(context, options, id);
    if (round === null || round.phase !== 'committing')
      throw new LockstepError(
        'ROUND_REFUSED',
        round === null ? 'No round is open for this build' : `Round ${round.opening.round} takes no more commitments`,
        'A coordinator opens one: lockstep quorum open.',
      );
    if (!round.participants.some((one) => one.key === key))
      throw new LockstepError(
        'ROUND_REFUSED',
        'This builder is not on the roster of the round',
        'Builders are listed in the policy, which is signed offline.',
      );
    const cell = `salt-${round.digest}-${key}`;
    // Kept before anything is said: a commitment whose salt is lost can never be opened.
    if (context.store.cells.get(cell) === null)
      context.store.cells.swap(cell, null, JSON.stringify({ salt: randomBytes(32).toString('hex'), statement }));
    const kept = keptSalt(context, cell);
    if (kept.statement !== statement)
      throw new LockstepError(
        'ROUND_REFUSED',
        'This builder has committed to another statement in this round',
        'Reveal that one. Who commits twice does not count.',
      );
    const commitment = commitmentOf({ opening: round.digest, key, salt: kept.salt, statement });
    const [appended] = await appendTo(home, [
      signDocument(keyFile, COMMITMENT, {
        schema: 'lockstep-commitment/v1',
        build_id: id,
        round: round.opening.round,
        opening: round.digest,
        commitment,
      }),
    ]);
    print(`committed to round ${round.opening.round}, entry ${appended?.index ?? ''}: ${commitment}`, {
      schema: 'lockstep-quorum-commit/v1',
      index: appended?.index ?? null,
      round: round.opening.round,
      commitment,
    });
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

/** Refuses before the time: what is public early makes every later commitment worthless. */
export function quorumReveal(attestation: string, options: RoundOptions): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    const own = ownStatement(context, attestation, options);
    const { home, round } = await placeOf(context, options, own.id);
    const participant = round?.participants.find((one) => one.key === own.key);
    if (round === null || participant?.committedAt == null)
      throw new LockstepError('ROUND_REFUSED', 'This builder has no commitment in an open round', 'Commit first: lockstep quorum commit.');
    if (round.phase === 'committing')
      throw new LockstepError(
        'ROUND_REFUSED',
        `Round ${round.opening.round} still waits for ${round.participants
          .filter((one) => one.state === 'waiting')
          .map((one) => one.builder)
          .join(', ')}`,
        'Reveal when all have committed, or when a coordinator has closed the round.',
      );
    const { salt, statement } = keptSalt(context, `salt-${round.digest}-${own.key}`);
    if (statement !== own.statement)
      throw new LockstepError(
        'ROUND_REFUSED',
        'This is not the statement that was committed to',
        'Give the attestation that "quorum commit" was given.',
      );
    const reveal = signDocument(own.keyFile, REVEAL, {
      schema: 'lockstep-reveal/v1',
      build_id: own.id,
      round: round.opening.round,
      opening: round.digest,
      statement,
      salt,
    });
    const appended = await appendTo(home, [reveal, own.submission]);
    print(`revealed in round ${round.opening.round}, entries ${appended.map((one) => one.index).join(' and ')}`, {
      schema: 'lockstep-quorum-reveal/v1',
      indexes: appended.map((one) => one.index),
      round: round.opening.round,
    });
    return 0;
  });
}

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

function ownStatement(context: Context, attestation: string, options: RoundOptions) {
  const envelope = parseEnvelope(readNamedFile(attestation));
  const keyFile = options.key ?? context.settings.keyFile;
  const publicKey = publicKeyFromSpki(new Uint8Array(openAttestationKey(keyFile).spki));
  const message = pae(envelope.payloadType, envelope.payload);
  const signature = envelope.signatures.find(({ sig }) => verifyP256(publicKey, message, sig));
  if (signature === undefined)
    throw new LockstepError(
      'VERIFICATION_FAILED',
      `${attestation} is not signed by this builder’s key`,
      'A builder commits to its own statements only.',
    );
  const statement = digestBytes(message).sha256;
  const claim = readClaim(envelope.payload, statement, publicKey.id);
  if (claim === null)
    throw new LockstepError('STATEMENT_INVALID', `${attestation} is no statement of a build that holds together`, 'Build again.');
  return {
    statement,
    id: claim.buildId,
    key: publicKey.id,
    keyFile,
    submission: { payloadType: envelope.payloadType, payload: envelope.payload, signature: signature.sig, signer: publicKey },
  };
}

function keptSalt(context: Context, cell: string): { salt: string; statement: Sha256 } {
  const text = context.store.cells.get(cell);
  const kept = text === null ? null : (JSON.parse(text) as { salt: string; statement: string });
  if (kept === null || !isSha256(kept.salt) || !isSha256(kept.statement))
    throw new LockstepError(
      'ROUND_REFUSED',
      'The salt of this commitment is not in this store',
      'Reveal from the machine that committed (LOCKSTEP_HOME).',
    );
  return { salt: kept.salt, statement: kept.statement };
}
