/** Who is asking. Nothing about them is believed but what a certificate, a token or a CI system's signature shows. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Role } from '@lockstep/api/role';
import type { Farm } from '../farm.ts';
import { type BuilderIdentity, hashToken } from '../leases/lease.ts';
import type { Oidc } from './oidc.ts';

export interface Principal {
  readonly name: string;
  readonly role: Role;
  readonly builder: BuilderIdentity | null;
}

/** What came with a request. */
export interface Shown {
  /** SHA-256 of the transport key of the client certificate; null without one that this farm's authority signed. */
  readonly transportKey: string | null;
  /** `Authorization` header. */
  readonly authorization: string | null;
  readonly address: string;
}

const unauthenticated = (why: string): LockstepError =>
  new LockstepError(
    'UNAUTHENTICATED',
    `The farm does not know who is asking: ${why}`,
    'Set LOCKSTEP_TOKEN to a token of this farm; an operator makes one with "lockstep farm token".',
  );

/** @throws LockstepError UNAUTHENTICATED for something that is shown and does not hold */
export async function identify(farm: Farm, oidc: Oidc | null, shown: Shown): Promise<Principal> {
  if (shown.authorization !== null) {
    const token = /^Bearer ([A-Za-z0-9._~+/=-]{16,8192})$/.exec(shown.authorization)?.[1];
    if (token === undefined) throw unauthenticated('the Authorization header is not "Bearer TOKEN"');
    if (token.split('.').length === 3) {
      if (oidc === null) throw unauthenticated('it takes no OpenID Connect tokens');
      return { name: await oidc(token), role: 'submitter', builder: null };
    }
    return ofToken(farm, token);
  }
  if (shown.transportKey !== null) return ofCertificate(farm, shown.transportKey);
  return { name: `anyone at ${shown.address}`, role: 'anyone', builder: null };
}

async function ofToken(farm: Farm, token: string): Promise<Principal> {
  const row = await farm.database.reads.selectFrom('tokens').selectAll().where('token', '=', hashToken(token)).executeTakeFirst();
  if (row === undefined) throw unauthenticated('the token is unknown');
  if (row.revoked_at !== null) throw unauthenticated('the token was revoked');
  if (row.expires_at !== null && row.expires_at <= farm.now()) throw unauthenticated('the token has expired');
  return { name: row.name, role: row.role as Role, builder: null };
}

async function ofCertificate(farm: Farm, transportKey: string): Promise<Principal> {
  const row = await farm.database.reads
    .selectFrom('builders')
    .select(['name', 'attestation_key', 'state', 'last_seen'])
    .where('transport_key', '=', transportKey)
    .executeTakeFirst();
  const shutOut = (why: string): LockstepError =>
    new LockstepError(
      'UNAUTHENTICATED',
      `The farm does not know this builder: ${why}`,
      'Join again: an operator makes a token with "lockstep farm join-token".',
    );
  if (row === undefined) throw shutOut('its certificate is of none that has joined');
  if (row.state === 'retired') throw shutOut(`${row.name} is retired`);
  return {
    name: row.name,
    role: 'builder',
    builder: {
      name: row.name,
      transportKey,
      attestationKey: row.attestation_key,
      isActive: row.state === 'active',
      lastSeen: row.last_seen,
    },
  };
}

/** Default deny. @throws LockstepError UNAUTHENTICATED, FORBIDDEN */
export function authorize(principal: Principal, allow: readonly Role[]): void {
  if (allow.includes(principal.role)) return;
  if (principal.role === 'anyone') throw unauthenticated('this needs a token or a certificate');
  throw new LockstepError(
    'FORBIDDEN',
    `${principal.name} is ${principal.role}, and this is for ${allow.join(', ')}`,
    'Ask an operator of the farm.',
  );
}
