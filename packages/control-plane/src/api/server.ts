/** HTTPS: TLS 1.3, a certificate of the client where it has one. Nothing else listens. */
import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { TLSSocket } from 'node:tls';
import { getRequestListener } from '@hono/node-server';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { errorFields } from '../observe/journal.ts';
import type { Farm } from '../farm.ts';
import type { Connection, FarmApp } from './app.ts';

export interface ServerOptions {
  readonly host: string;
  readonly port: number;
  readonly identity: { readonly certificate: string; readonly key: string };
  /** PEM: whoever has a certificate of it is told apart by its key. */
  readonly authority: string;
}

export interface FarmServer {
  readonly port: number;
  /** Waits for what is being answered; streams are ended. */
  close(): Promise<void>;
}

const REQUEST_TIMEOUT = 300_000;
const HEADERS_TIMEOUT = 20_000;
const MOST_HEADER_BYTES = 16_384;

export async function startServer(farm: Farm, app: FarmApp, options: ServerOptions): Promise<FarmServer> {
  const known = new WeakMap<object, { readonly connection: Connection; readonly until: number }>();
  const connectionOf = (socket: unknown): Connection => {
    if (!(socket instanceof TLSSocket)) return { address: 'unknown', transportKey: null, transportSpki: null };
    const cached = known.get(socket);
    // A connection outlives no certificate.
    if (cached !== undefined)
      return farm.now() < cached.until ? cached.connection : { ...cached.connection, transportKey: null, transportSpki: null };
    const read = readConnection(socket);
    known.set(socket, read);
    return read.connection;
  };
  const listener = getRequestListener((request, env) => app.fetch(request, connectionOf(env.incoming.socket)), {
    overrideGlobalObjects: false,
    errorHandler(error) {
      farm.journal('warn', 'a request could not be read', errorFields(error));
      return new Response(null, { status: 400 });
    },
  });
  const server: Server = createServer(
    {
      cert: options.identity.certificate,
      key: options.identity.key,
      ca: options.authority,
      minVersion: 'TLSv1.3',
      requestCert: true,
      // Whoever has none is somebody with a token, or anybody.
      rejectUnauthorized: false,
      requestTimeout: REQUEST_TIMEOUT,
      headersTimeout: HEADERS_TIMEOUT,
      maxHeaderSize: MOST_HEADER_BYTES,
    },
    (incoming, outgoing) => void listener(incoming, outgoing),
  );
  server.keepAliveTimeout = 75_000;
  server.on('tlsClientError', (error) => farm.journal('debug', 'a handshake failed', errorFields(error)));
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        new LockstepError(
          'HOST_CANNOT',
          `Cannot listen on ${options.host}:${options.port}: ${error.message}`,
          'Choose another address (listen in farm.toml).',
        ),
      ),
    );
    server.listen(options.port, options.host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      // What still streams after this is ended by its reader’s resume elsewhere.
      const timer = setTimeout(() => server.closeAllConnections(), 1000);
      await closed;
      clearTimeout(timer);
    },
  };
}

function readConnection(socket: TLSSocket): { connection: Connection; until: number } {
  const address = socket.remoteAddress ?? 'unknown';
  const certificate = socket.authorized ? socket.getPeerX509Certificate() : undefined;
  if (certificate === undefined)
    return { connection: { address, transportKey: null, transportSpki: null }, until: Number.POSITIVE_INFINITY };
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
  return {
    connection: { address, transportKey: createHash('sha256').update(spki).digest('hex'), transportSpki: new Uint8Array(spki) },
    until: Date.parse(certificate.validTo),
  };
}
