/** HTTPS to a farm, with the farm's own authority and, for builders, a client certificate. Connections are kept. */
import { Agent, request } from 'node:https';
import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Transport, TransportRequest } from './client.ts';

export interface HttpsTransportOptions {
  /** `https://HOST:PORT`; several, separated by commas, are replicas: the next is tried where one cannot be reached. */
  readonly url: string;
  /** PEM of the authority that signed the farm's certificate; null: those of the system. */
  readonly authority: string | null;
  /** The builder's certificate and key, in PEM. Asked for each connection, so that a renewed one is used. */
  readonly identity: (() => { readonly certificate: string; readonly key: string }) | null;
  /** Milliseconds without a byte, instead of what each route allows. */
  readonly timeout?: number;
}

const NO_BODY = new Set([204, 205, 304]);

export interface HttpsTransport {
  readonly send: Transport;
  /** Drops connections that are idle, so that the next uses today's certificate. */
  close(): void;
}

export function httpsTransport(options: HttpsTransportOptions): HttpsTransport {
  const bases = options.url.split(',').map((url) => new URL(url.trim()));
  let current = 0;
  let agent = new Agent({ keepAlive: true, maxSockets: 64 });
  let used = '';
  const sendTo = (base: URL, { method, path, headers, body, signal, patience }: TransportRequest): Promise<Response> => {
    const identity = options.identity?.() ?? null;
    if (identity !== null && identity.certificate !== used) {
      agent.destroy();
      agent = new Agent({ keepAlive: true, maxSockets: 64 });
      used = identity.certificate;
    }
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          agent,
          host: base.hostname.replace(/^\[|\]$/g, ''),
          port: base.port === '' ? 443 : Number(base.port),
          method,
          path: `${base.pathname.replace(/\/+$/, '')}${path}`,
          headers: { ...headers, ...(body === null ? {} : { 'content-length': String(body.length) }) },
          ...(options.authority === null ? {} : { ca: options.authority }),
          ...(identity === null ? {} : { cert: identity.certificate, key: identity.key }),
          ...(signal === null ? {} : { signal }),
          timeout: options.timeout ?? patience * 1000,
        },
        (incoming) => {
          const status = incoming.statusCode ?? 500;
          const bare = NO_BODY.has(status) || method === 'HEAD';
          if (bare) incoming.resume();
          const stream = bare ? null : (Readable.toWeb(incoming) as ReadableStream<Uint8Array>);
          const pairs = Object.entries(incoming.headers).flatMap(([key, value]) =>
            typeof value === 'string' ? [[key, value] as [string, string]] : [],
          );
          resolve(new Response(stream, { status, headers: pairs }));
        },
      );
      outgoing.once('timeout', () =>
        outgoing.destroy(new Error(`no answer for ${options.timeout === undefined ? patience : options.timeout / 1000} s`)),
      );
      let connected = false;
      outgoing.once('socket', (socket) => {
        if (outgoing.reusedSocket) connected = true;
        else socket.once('secureConnect', () => (connected = true));
      });
      outgoing.once('error', (error) => reject(signal?.aborted === true ? signal.reason : new NotReached(base.href, error, connected)));
      outgoing.end(body ?? undefined);
    });
  };
  return {
    async send(request) {
      for (let tried = 1; ; tried++) {
        const base = bases[current % bases.length];
        if (base === undefined) throw new TypeError('a farm has an address');
        try {
          return await sendTo(base, request);
        } catch (error) {
          if (!(error instanceof NotReached)) throw error;
          // Whoever comes next begins with another one. What may have arrived is not sent again here: the caller knows whether it may be.
          current++;
          if (error.connected || tried >= bases.length) throw error;
        }
      }
    },
    close: () => agent.destroy(),
  };
}

class NotReached extends LockstepError {
  /** Whether the request may have arrived. */
  readonly connected: boolean;
  constructor(url: string, error: Error, connected: boolean) {
    super(
      'FARM_UNREACHABLE',
      `${url} cannot be reached: ${error.message}`,
      'Check that the farm runs, its address, and that its authority (--ca) is the right one.',
    );
    this.connected = connected;
  }
}
