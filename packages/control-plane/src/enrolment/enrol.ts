/** How a builder joins: a token of one use, made for the fingerprint of its transport key; then a short-lived certificate. */
import { enrolmentWords } from '@lockstep/api/enrolment';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { publicKeyFromSpki, verifyP256 } from '@lockstep/protocol/key/p256';
import type { Farm } from '../farm.ts';
import { type BuilderIdentity, hashToken, newToken } from '../leases/lease.ts';
import type { Authority } from './authority.ts';

export interface EnrolmentRequest {
  readonly token: string;
  readonly name: string;
  readonly transportKey: string;
  readonly attestationKey: string;
  readonly transportProof: string;
  readonly attestationProof: string;
}

export interface Enrolled {
  readonly certificate: string;
  readonly authority: string;
  readonly expiresAt: number;
}

const refuse = (why: string): LockstepError =>
  new LockstepError(
    'ENROLMENT_REFUSED',
    `This builder cannot join: ${why}`,
    'An operator makes a token for this builder’s transport key: lockstep farm join-token NAME --key FINGERPRINT.',
  );

export async function makeJoinToken(
  farm: Farm,
  name: string,
  fingerprint: string,
  minutes: number,
): Promise<{ token: string; expiresAt: number }> {
  const token = newToken();
  const expiresAt = farm.now() + minutes * 60_000;
  await farm.database.write((tx) =>
    tx
      .insertInto('join_tokens')
      .values({ token: hashToken(token), name, fingerprint, expires_at: expiresAt, used_at: null })
      .execute(),
  );
  return { token, expiresAt };
}

/** @throws LockstepError ENROLMENT_REFUSED */
export async function enrol(farm: Farm, authority: Authority, given: EnrolmentRequest): Promise<Enrolled> {
  const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, 'base64'));
  const transport = publicKeyFromSpki(bytes(given.transportKey));
  const attestation = publicKeyFromSpki(bytes(given.attestationKey));
  if (attestation.id === transport.id) throw refuse('the transport key and the attestation key are the same');
  const words = toUtf8(enrolmentWords(given.name, transport.id, attestation.id));
  if (!verifyP256(transport, words, bytes(given.transportProof)) || !verifyP256(attestation, words, bytes(given.attestationProof)))
    throw refuse('it has not shown that both keys are its own');
  const issued = await authority.issue(transport.spki, given.name);
  await farm.database.write(async (tx) => {
    const now = farm.now();
    const used = await tx
      .updateTable('join_tokens')
      .set({ used_at: now })
      .where('token', '=', hashToken(given.token))
      .where('used_at', 'is', null)
      .where('expires_at', '>', now)
      .where('name', '=', given.name)
      .where('fingerprint', '=', transport.id)
      .executeTakeFirst();
    if (Number(used.numUpdatedRows) !== 1) {
      // Said again by the same builder, because the answer was lost.
      const again = await tx
        .selectFrom('join_tokens')
        .innerJoin('builders', 'builders.name', 'join_tokens.name')
        .select('builders.name')
        .where('join_tokens.token', '=', hashToken(given.token))
        .where('join_tokens.expires_at', '>', now)
        .where('join_tokens.fingerprint', '=', transport.id)
        .where('builders.name', '=', given.name)
        .where('builders.transport_key', '=', transport.id)
        .where('builders.attestation_key', '=', attestation.id)
        .where('builders.state', '!=', 'retired')
        .executeTakeFirst();
      if (again !== undefined) return;
      // One answer for every reason: a guesser learns nothing.
      throw refuse('the token is unknown, used, expired, or made for another name or key');
    }
    await tx.deleteFrom('builders').where('name', '=', given.name).execute();
    const taken = await tx
      .selectFrom('builders')
      .select('name')
      .where((where) =>
        where.or([
          where('attestation_key', 'in', [attestation.id, transport.id]),
          where('transport_key', 'in', [attestation.id, transport.id]),
        ]),
      )
      .executeTakeFirst();
    if (taken !== undefined) throw refuse(`${taken.name} has one of these keys`);
    await tx
      .insertInto('builders')
      .values({
        name: given.name,
        attestation_key: attestation.id,
        transport_key: transport.id,
        state: 'active',
        capabilities: null,
        last_seen: null,
        enrolled_at: now,
        certificate_expires: issued.expiresAt,
      })
      .execute();
  });
  return { certificate: issued.certificate, authority: authority.certificate, expiresAt: issued.expiresAt };
}

/** For the key of the connection, which the handshake has shown to be there; another one joins anew. */
export async function renew(farm: Farm, authority: Authority, builder: BuilderIdentity, transportKey: Uint8Array): Promise<Enrolled> {
  const issued = await authority.issue(transportKey, builder.name);
  await farm.database.write((tx) =>
    tx.updateTable('builders').set({ certificate_expires: issued.expiresAt }).where('name', '=', builder.name).execute(),
  );
  return { certificate: issued.certificate, authority: authority.certificate, expiresAt: issued.expiresAt };
}
