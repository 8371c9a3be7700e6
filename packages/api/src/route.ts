/**
 * A route as data: the server is mounted from it, the client is typed by it, OpenAPI is written from it, and the table test
 * of every route × every role reads it. What is not in the table does not exist.
 */
import { z } from 'zod';
import type { Role } from './role.ts';

export type Content = 'bytes' | 'events' | 'text';

/** What a route takes and gives: a schema for JSON, or the name of another kind of content. */
type Shape = z.ZodType | Content | null;

export interface Route<
  Params extends z.ZodType = z.ZodType,
  Query extends z.ZodType = z.ZodType,
  Body extends Shape = Shape,
  Reply extends Shape = Shape,
> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** `{name}` is a parameter; `{name+}` takes the rest of the path. */
  readonly path: string;
  readonly allow: readonly Role[];
  readonly summary: string;
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  readonly reply: Reply;
  /** Whether it changes something, and therefore is in the audit log. Builders' own calls are attempts, kept elsewhere. */
  readonly audited: boolean;
  /** Bytes that a body may have. */
  readonly maxBody: number;
  /** Seconds that the answer may take. */
  readonly patience: number;
}

const NOTHING = z.strictObject({});
const DEFAULT_MAX_BODY = 64 * 1024;
/** Longer than the longest wait that a farm answers to. */
const DEFAULT_PATIENCE = 60;
/** For hashing and copying what was uploaded: 64 GiB on a slow disk. */
export const LONG_PATIENCE = 3600;

interface Given<P extends z.ZodType, Q extends z.ZodType, B extends Shape, R extends Shape> {
  readonly allow: readonly Role[];
  readonly summary: string;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  readonly reply: R;
  readonly audited?: boolean;
  readonly maxBody?: number;
  readonly patience?: number;
}

/** @param at method and path: `POST /v1/jobs/{job}/cancel` */
export function route<R extends Shape, P extends z.ZodType = typeof NOTHING, Q extends z.ZodType = typeof NOTHING, B extends Shape = null>(
  at: `${Route['method']} /${string}`,
  given: Given<P, Q, B, R>,
): Route<P, Q, B, R> {
  const [method, path] = at.split(' ') as [Route['method'], string];
  return {
    method,
    path,
    allow: given.allow,
    summary: given.summary,
    params: given.params ?? (NOTHING as unknown as P),
    query: given.query ?? (NOTHING as unknown as Q),
    body: given.body ?? (null as B),
    reply: given.reply,
    audited: given.audited ?? false,
    patience: given.patience ?? DEFAULT_PATIENCE,
    maxBody: given.maxBody ?? (given.body === undefined ? 0 : DEFAULT_MAX_BODY),
  };
}
