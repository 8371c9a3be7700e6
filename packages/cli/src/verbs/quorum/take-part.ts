/** `lockstep quorum commit|reveal`: what a builder does in a round. */
import { randomBytes } from 'node:crypto';
import type { Context } from '@lockstep/builder/context';
import { openAttestationKey } from '@lockstep/builder/attest/key';
import { signDocument } from '@lockstep/builder/attest/sign-document';
import { commitmentOf } from '@lockstep/protocol/commitment/commit';
import { COMMITMENT, REVEAL } from '@lockstep/protocol/commitment/documents';
import { digestBytes, isSha256, type Sha256 } from '@lockstep/protocol/digest/digest';
import { pae, parseEnvelope } from '@lockstep/protocol/dsse/envelope';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { publicKeyFromSpki, verifyP256 } from '@lockstep/protocol/key/p256';
import { readClaim } from '@lockstep/protocol/quorum/claim';
import { appendTo } from '../../farm-log.ts';
import { readNamedFile } from '../../read-file.ts';
import { runVerb } from '../../session.ts';
import { placeOf, type RoundOptions } from './round-place.ts';

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
