/** A request as handlers see it: parsed by the route's schemas, bounded, with whoever is asking. */
import type { z } from 'zod';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parseJson } from '@lockstep/protocol/json/parse';
import type { Content, Route } from '@lockstep/api/route';
import type { ROUTES, RouteName } from '@lockstep/api/routes/table';
import type { Principal } from '../access/principal.ts';
import type { Authority } from '../enrolment/authority.ts';
import type { Farm } from '../farm.ts';
import type { LeaseProof } from '../leases/held.ts';
import type { TranscriptHub } from '../transcripts/hub.ts';
import type { LeaseWaiters } from './lease-waiters.ts';

/** What handlers share in one process. */
export interface Services {
  readonly farm: Farm;
  readonly authority: Authority;
  readonly transcripts: TranscriptHub;
  readonly waiters: LeaseWaiters;
  /** Public files of the signed policy's repository. */
  readonly policyFile: (path: string) => Uint8Array | null;
}

type Parsed<S> = S extends z.ZodType ? z.output<S> : S extends 'bytes' ? Uint8Array : null;
type Answer<S> = S extends z.ZodType ? z.input<S> : S extends Content ? Response : null;
type RouteOf<N extends RouteName> = (typeof ROUTES)[N];

export interface Call<N extends RouteName> {
  readonly params: Parsed<RouteOf<N>['params']>;
  readonly query: Parsed<RouteOf<N>['query']>;
  readonly body: Parsed<RouteOf<N>['body']>;
  readonly principal: Principal;
  readonly headers: Headers;
  /** DER SubjectPublicKeyInfo of the connection's client key. */
  readonly transportSpki: Uint8Array | null;
  /** Aborted when the caller has gone. */
  readonly signal: AbortSignal;
}

export type Handler<N extends RouteName> = (
  services: Services,
  call: Call<N>,
) => Promise<Answer<RouteOf<N>['reply']>> | Answer<RouteOf<N>['reply']>;
export type Handlers<N extends RouteName> = { readonly [K in N]: Handler<K> };

const invalid = (why: string): LockstepError =>
  new LockstepError('REQUEST_INVALID', `The request cannot be used: ${why}`, 'See /v1/openapi.json for what is expected.');

/** @throws LockstepError REQUEST_INVALID */
export function parsed<S extends z.ZodType>(schema: S, value: unknown, what: string): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw invalid(
    `${what}${issue === undefined || issue.path.length === 0 ? '' : ` ${issue.path.join('.')}`}: ${issue?.message ?? 'no value'}`,
  );
}

/** @throws LockstepError REQUEST_INVALID */
export async function readBody(route: Route, request: Request): Promise<unknown> {
  if (route.body === null) return null;
  const bytes = await readBounded(request, route.maxBody);
  if (typeof route.body === 'string') return bytes;
  return parsed(route.body, parseJson(bytes, 'the body'), 'the body');
}

async function readBounded(request: Request, most: number): Promise<Uint8Array> {
  const told = Number(request.headers.get('content-length') ?? '0');
  if (told > most) throw invalid(`its body is larger than ${most} bytes`);
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of (request.body ?? []) as AsyncIterable<Uint8Array>) {
    size += part.length;
    if (size > most) throw invalid(`its body is larger than ${most} bytes`);
    parts.push(part);
  }
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
}

/** The lease that a builder shows. @throws LockstepError LEASE_STALE, FORBIDDEN */
export function proofOf(call: {
  readonly principal: Principal;
  readonly headers: Headers;
  readonly params: { readonly attempt: number };
}): LeaseProof {
  const { builder } = call.principal;
  if (builder === null) throw new LockstepError('FORBIDDEN', 'Only a builder holds leases', 'Connect with the certificate of a builder.');
  return { builder, attempt: call.params.attempt, token: call.headers.get('lockstep-lease') ?? '' };
}
