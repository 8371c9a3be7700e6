/** The route table as an HTTP application: who, may they, how often, then the handler; every answer is told in the same way. */
import { type Context, Hono } from 'hono';
import type { Route } from '@lockstep/api/route';
import { ROUTES, type RouteName } from '@lockstep/api/routes/table';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Oidc } from '../access/oidc.ts';
import { authorize, identify, type Principal } from '../access/principal.ts';
import { rateLimit } from '../access/rate-limit.ts';
import { errorFields } from '../observe/journal.ts';
import { jsonResponse, problemOf, problemResponse } from './answer.ts';
import { builderHandlers } from './handlers/builders.ts';
import { jobHandlers } from './handlers/jobs.ts';
import { operatorHandlers } from './handlers/operators.ts';
import { signingHandlers } from './handlers/signing.ts';
import { type Handler, parsed, readBody, type Services } from './request.ts';

/** What is known of a connection, by whoever accepted it. */
export interface Connection {
  readonly address: string;
  /** SHA-256 of the client key's SubjectPublicKeyInfo, where this farm's authority signed its certificate. */
  readonly transportKey: string | null;
  readonly transportSpki: Uint8Array | null;
}

const HANDLERS = { ...jobHandlers, ...builderHandlers, ...operatorHandlers, ...signingHandlers };

export interface FarmApp {
  fetch(request: Request, connection: Connection): Promise<Response>;
}

export function farmApp(services: Services, oidc: Oidc | null): FarmApp {
  const { farm } = services;
  const limit = rateLimit(farm.limits.rate, farm.now);
  const app = new Hono<{ Bindings: Connection }>();
  for (const name of Object.keys(ROUTES) as RouteName[]) mount(name);
  app.notFound(() =>
    problemResponse(new LockstepError('NOT_FOUND', 'The farm has no such route', 'See /v1/openapi.json for those that there are.')),
  );
  return { fetch: async (request, connection) => app.fetch(request, connection) };

  function mount(name: RouteName): void {
    const route: Route = ROUTES[name];
    app.on(route.method, honoPath(route.path), async (context) => {
      const end = farm.metrics.requestSeconds.startTimer({ route: name });
      const asked: { principal: Principal | null } = { principal: null };
      const response = await answer(name, route, context, asked).catch((error: unknown) => {
        const { status } = problemOf(error);
        if (status >= 500)
          farm.journal(status === 500 ? 'error' : 'warn', 'a request failed', { route: name, status, ...errorFields(error) });
        return problemResponse(error);
      });
      end();
      farm.metrics.requests.inc({ route: name, status: String(response.status) });
      // What is done is done: that it could not be noted is for the journal, which has it all the same.
      // A stranger who is refused fills no table; the journal has them.
      if (route.audited && (response.status < 400 || (asked.principal !== null && asked.principal.role !== 'anyone')))
        await audit(name, context, asked.principal, response.status).catch((error: unknown) =>
          farm.journal('error', 'the audit log could not be written', errorFields(error)),
        );
      return response;
    });
  }

  async function answer(
    name: RouteName,
    route: Route,
    context: Context<{ Bindings: Connection }>,
    asked: { principal: Principal | null },
  ): Promise<Response> {
    const { raw } = context.req;
    const connection = context.env;
    // Strangers by address, and so is whoever shows what does not hold; everybody else by name.
    if (connection.transportKey === null && raw.headers.get('authorization') === null) limit(connection.address);
    const principal = await identify(farm, oidc, {
      transportKey: connection.transportKey,
      authorization: raw.headers.get('authorization'),
      address: connection.address,
    }).catch((error: unknown) => {
      limit(connection.address);
      throw error;
    });
    asked.principal = principal;
    if (principal.role !== 'anyone') limit(`${principal.role} ${principal.name}`);
    authorize(principal, route.allow);
    const call = {
      params: parsed(route.params, context.req.param(), 'the path'),
      query: parsed(route.query, context.req.query(), 'the query'),
      body: await readBody(route, raw),
      principal,
      headers: raw.headers,
      transportSpki: connection.transportSpki,
      signal: raw.signal,
    };
    const reply: unknown = await (HANDLERS[name] as Handler<RouteName>)(services, call as never);
    return reply instanceof Response ? reply : jsonResponse(reply);
  }

  async function audit(
    name: RouteName,
    context: Context<{ Bindings: Connection }>,
    principal: Principal | null,
    status: number,
  ): Promise<void> {
    const entry = {
      who: principal?.name ?? `anyone at ${context.env.address}`,
      role: principal?.role ?? 'anyone',
      action: name,
      subject: new URL(context.req.url).pathname.slice(0, 300),
      status,
    };
    farm.journal('info', 'audit', entry);
    const at = farm.now();
    await farm.database.write((tx) =>
      tx
        .insertInto('audit')
        .values({ at, ...entry })
        .execute(),
    );
  }
}

/** `{name}` and `{name+}` as Hono writes them. */
function honoPath(path: string): string {
  return path.replaceAll(/\{([a-zA-Z0-9]+)\+\}/g, ':$1{.+}').replaceAll(/\{([a-zA-Z0-9]+)\}/g, ':$1');
}
