/** PostgreSQL: a pool for work, and one connection that listens (LISTEN/NOTIFY) and comes back when it is lost. */
import pg from 'pg';

/** So many transactions at once per replica; more would wait for the same rows. */
const CONNECTIONS = 12;
const RECONNECT = 1000;

export function postgresPool(url: string, onError: (error: unknown) => void): pg.Pool {
  // Numbers of ours are below 2^53.
  pg.types.setTypeParser(pg.types.builtins.INT8, Number);
  const pool = new pg.Pool({
    connectionString: url,
    max: CONNECTIONS,
    connectionTimeoutMillis: 10_000,
    // A commit that was acknowledged is on the disk, whatever the server's default is.
    options: '-c synchronous_commit=on -c lock_timeout=20s -c statement_timeout=60s',
  });
  // A connection that breaks while it is idle is replaced by the pool; without a listener it would end the process.
  pool.on('error', onError);
  // The same for one that breaks between two statements of a transaction: the next statement fails, and says so.
  pool.on('connect', (client) => client.on('error', onError));
  return pool;
}

export interface Channel {
  close(): Promise<void>;
}

export function listenTo(url: string, heard: (what: string) => void, onError: (error: unknown) => void): Channel {
  let client: pg.Client | null = null;
  let closed = false;
  let timer: NodeJS.Timeout | undefined;
  const again = (error: unknown): void => {
    if (closed) return;
    onError(error);
    client = null;
    timer = setTimeout(connect, RECONNECT);
  };
  const connect = (): void => {
    const next = new pg.Client({ connectionString: url, keepAlive: true });
    let lost = false;
    const lose = (error: unknown): void => {
      if (lost) return;
      lost = true;
      again(error);
      void endQuietly(next);
    };
    next.on('error', lose);
    next.on('end', () => lose(new Error('the listening connection to the database has ended')));
    next.on('notification', ({ payload }) => heard(payload ?? ''));
    next
      .connect()
      .then(() => next.query('listen lockstep'))
      // Whatever was said while nobody listened: look at everything once.
      .then(() => heard('jobs'))
      .catch(lose);
    client = next;
  };
  connect();
  return {
    async close() {
      closed = true;
      clearTimeout(timer);
      if (client !== null) await endQuietly(client);
    },
  };
}

/** What is lost already may not be able to say good-bye. */
async function endQuietly(client: pg.Client): Promise<void> {
  try {
    await client.end();
  } catch {
    // It is gone, which is all that was wanted.
  }
}
