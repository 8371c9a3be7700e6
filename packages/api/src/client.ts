/** A client typed by the route table. How requests travel is a parameter: HTTPS, or straight into a farm of this process. */
import type { z } from 'zod';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { FarmError, problem } from './problem.ts';
import type { Content, Route } from './route.ts';
import { ROUTES, type RouteName } from './routes/table.ts';

export type Transport = (request: TransportRequest) => Promise<Response>;

export interface TransportRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | null;
  readonly signal: AbortSignal | null;
  /** Seconds without a byte after which there will be no answer. */
  readonly patience: number;
}

type InputOf<S> = S extends z.ZodType ? z.input<S> : S extends 'bytes' ? Uint8Array : null;
type ReplyOf<S> = S extends z.ZodType ? z.output<S> : S extends Content ? Response : null;
/** Parameters are written as text into the path; numbers are too. */
type Written<T> = { readonly [K in keyof T]: T[K] | number };

export interface Arguments<N extends RouteName> {
  readonly params?: Written<z.input<(typeof ROUTES)[N]['params']>>;
  readonly query?: Written<z.input<(typeof ROUTES)[N]['query']>>;
  readonly body?: InputOf<(typeof ROUTES)[N]['body']>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export interface FarmClient {
  /** JSON comes back parsed and checked; bytes, text and events as a Response. @throws FarmError, LockstepError FARM_UNREACHABLE */
  call<N extends RouteName>(name: N, given?: Arguments<N>): Promise<ReplyOf<(typeof ROUTES)[N]['reply']>>;
}

/** @param token of the caller; null for builders, whose certificate says who they are */
export function farmClient(transport: Transport, token: string | null): FarmClient {
  return {
    async call(name, given = {}) {
      const one: Route = ROUTES[name];
      const json = one.body !== null && typeof one.body !== 'string';
      const body =
        given.body === undefined || given.body === null
          ? null
          : json
            ? Buffer.from(JSON.stringify(given.body))
            : (given.body as Uint8Array);
      const response = await transport({
        method: one.method,
        path: pathOf(one, given.params ?? {}, given.query ?? {}),
        headers: {
          ...(token === null ? {} : { authorization: `Bearer ${token}` }),
          ...(body === null ? {} : { 'content-type': json ? 'application/json' : 'application/octet-stream' }),
          ...given.headers,
        },
        body,
        signal: given.signal ?? null,
        patience: one.patience,
      });
      if (!response.ok) throw await problemOf(response);
      if (one.reply === null || typeof one.reply === 'string') return response as never;
      const parsed = one.reply.safeParse(await wholeJson(response));
      if (!parsed.success) throw unexpected(`${one.method} ${one.path}`, parsed.error.message);
      return parsed.data as never;
    },
  };
}

function pathOf(one: Route, params: Readonly<Record<string, unknown>>, query: Readonly<Record<string, unknown>>): string {
  const path = one.path.replaceAll(/\{([a-zA-Z0-9]+)(\+?)\}/g, (_all, key: string, rest: string) => {
    const value = String(params[key]);
    return rest === '+' ? value.split('/').map(encodeURIComponent).join('/') : encodeURIComponent(value);
  });
  const given = Object.entries(query).flatMap(([key, value]): [string, string][] =>
    typeof value === 'string' || typeof value === 'number' ? [[key, String(value)]] : [],
  );
  return given.length === 0 ? path : `${path}?${new URLSearchParams(given).toString()}`;
}

/** An answer that is cut off is one that did not come. */
async function wholeJson(response: Response): Promise<unknown> {
  try {
    return await response.json();
  } catch (error) {
    throw unexpected('its body', error instanceof Error ? error.message : String(error));
  }
}

async function problemOf(response: Response): Promise<LockstepError> {
  const text = await response.text();
  try {
    return new FarmError(response.status, problem.parse(JSON.parse(text)));
  } catch {
    return unexpected(`status ${response.status}`, text.slice(0, 200));
  }
}

function unexpected(where: string, what: string): LockstepError {
  return new LockstepError(
    'FARM_UNREACHABLE',
    `The farm’s answer is none that this program knows (${where}): ${what}`,
    'Check the address, and that both sides have the same version.',
  );
}
