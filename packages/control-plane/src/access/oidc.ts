/** Submitters from CI systems: OpenID Connect tokens of issuers that the operator lists, each for certain subjects only. */
import { createRemoteJWKSet, customFetch, errors, type JWTPayload, jwtVerify } from 'jose';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { matches } from '@lockstep/protocol/policy/policy';

export interface OidcIssuer {
  readonly issuer: string;
  /** What the token has to be for: this farm. */
  readonly audience: string;
  /** Where the issuer's keys are. */
  readonly jwks: string;
  /** Claims that have to fit, `*` standing for anything: { repository: "example/*" }. At least one. */
  readonly claims: Readonly<Record<string, string>>;
  /** Claim that names the submitter: "repository". */
  readonly name: string;
}

/** @returns the name of the submitter. @throws LockstepError UNAUTHENTICATED */
export type Oidc = (token: string) => Promise<string>;

/** A token is for one job of a CI system: nobody needs one that lives longer. */
const MAX_AGE = '1h';
const CLOCK_TOLERANCE = 30;

/** @param now milliseconds since 1970 */
export function oidcVerifier(issuers: readonly OidcIssuer[], now: () => number): Oidc | null {
  if (issuers.length === 0) return null;
  const keys = new Map(
    issuers.map((one) => [
      one.issuer,
      createRemoteJWKSet(new URL(one.jwks), {
        timeoutDuration: 5000,
        [customFetch]: (url, options) => fetch(url, { ...options, redirect: 'error' }),
      }),
    ]),
  );
  return async (token) => {
    const candidate = issuers.find((one) => one.issuer === unverifiedIssuer(token));
    const set = candidate === undefined ? undefined : keys.get(candidate.issuer);
    if (candidate === undefined || set === undefined) throw refuse('its issuer is not one that this farm lists');
    let payload: JWTPayload;
    try {
      ({ payload } = await jwtVerify(token, set, {
        issuer: candidate.issuer,
        audience: candidate.audience,
        algorithms: ['ES256', 'ES384', 'RS256', 'PS256', 'EdDSA'],
        maxTokenAge: MAX_AGE,
        clockTolerance: CLOCK_TOLERANCE,
        requiredClaims: ['exp', 'iat', 'sub'],
        currentDate: new Date(now()),
      }));
    } catch (error) {
      if (error instanceof errors.JOSEError && !(error instanceof errors.JWKSTimeout)) throw refuse(error.message);
      throw new LockstepError(
        'FARM_UNUSABLE',
        `The keys of ${candidate.issuer} cannot be had: ${error instanceof Error ? error.message : String(error)}`,
        'Try again; the issuer may be away.',
      );
    }
    for (const [claim, pattern] of Object.entries(candidate.claims)) {
      const value = payload[claim];
      if (typeof value !== 'string' || !matches(pattern, value)) throw refuse(`its ${claim} is not one that may submit`);
    }
    const name = payload[candidate.name];
    if (typeof name !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9._/@:-]{0,80}$/.test(name)) throw refuse(`its ${candidate.name} names nobody`);
    return `oidc:${name}`;
  };
}

/** Only to choose the key; nothing else is read before the signature is checked. */
function unverifiedIssuer(token: string): string | null {
  try {
    const payload: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
    return typeof payload === 'object' && payload !== null && 'iss' in payload && typeof payload.iss === 'string' ? payload.iss : null;
  } catch {
    return null;
  }
}

function refuse(why: string): LockstepError {
  return new LockstepError(
    'UNAUTHENTICATED',
    `The OpenID Connect token does not count: ${why}`,
    'An operator lists issuers, audience and claims in farm.toml ([[oidc]]).',
  );
}
