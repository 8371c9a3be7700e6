/** `lockstep farm`: API, reconciler, log, and, unless told otherwise, witness and builders, in one process. */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import type { Context, Progress } from '@lockstep/builder/context';
import type { Agent } from '@lockstep/builder/node/agent';
import { makeToken } from '@lockstep/control-plane/access/tokens';
import { hashToken } from '@lockstep/control-plane/leases/lease';
import { errorFields } from '@lockstep/control-plane/observe/journal';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { writeDurably } from '@lockstep/store/durable';
import { CLIENT_FILE, defaultFarmFolder, OPERATOR_TOKEN } from '../../farm/connect.ts';
import { readFarmHome } from '../../farm/farm-config.ts';
import { farmJournal } from '../../farm/farm-journal.ts';
import { startLocalBuilders } from '../../farm/local-builders.ts';
import { makeFarm } from '../../farm/make-farm.ts';
import { addressOf, type OpenFarm, openFarm, type RunningApi, startApi } from '../../farm/open-farm.ts';
import { type CommonOptions, runVerb } from '../../session.ts';
import { tellReady } from '../ready-fd.ts';

export interface RunOptions extends CommonOptions {
  readonly role: string;
  readonly readyFd?: string;
  readonly debug?: boolean;
}

const ROLES = ['all', 'api'] as const;

export function farmRun(folder: string | undefined, options: RunOptions): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    if (!(ROLES as readonly string[]).includes(options.role))
      throw new LockstepError(
        'USAGE',
        `--role ${options.role} is none`,
        `Use ${ROLES.join(' or ')}; builders and witnesses are "lockstep builder run" and "lockstep witness".`,
      );
    const where = folder ?? defaultFarmFolder();
    // From nothing: a farm to try out. What is there is never touched.
    if (folder === undefined && !existsSync(`${where}/farm.toml`))
      await makeFarm(where, { name: 'home', builders: 2, witness: true, signer: true, listen: '127.0.0.1:7300' }, context.now());
    const home = readFarmHome(where);
    const journal = farmJournal(Date.now, options.debug === true);
    const open = await openFarm(home, { journal, store: context.store, now: Date.now });
    const builders: Agent[] = [];
    let api: RunningApi | null = null;
    // However it ends, what was opened is closed: a connection that listens would keep the process.
    try {
      api = await startApi(open, home);
      const [host] = addressOf(home.config.listen);
      // Who listens everywhere is spoken to by the first name that its certificate has.
      const name = host === '0.0.0.0' || host === '::' ? (home.config.names[0] ?? host) : host;
      const url = `https://${name.includes(':') ? `[${name}]` : name}:${api.server.port}`;
      await announceHere(home.folder, url, open);
      if (options.role === 'all') builders.push(...(await startLocalBuilders(home, open, quietContext(context))));
      print(
        [
          `${home.config.name}: ${url}, ${builders.length} ${builders.length === 1 ? 'builder' : 'builders'} here; log ${open.farm.log.key}`,
          `authority sha256:${open.services.authority.fingerprint}`,
          ...(folder === undefined ? ['Try: lockstep submit DIR --out DIR; lockstep farm status'] : []),
        ].join('\n'),
        {
          schema: 'lockstep-farm/v1',
          url,
          folder: home.folder,
          log: open.farm.log.key,
          authority: open.services.authority.fingerprint,
          builders: builders.length,
        },
      );
      tellReady(options.readyFd);
      await new Promise<void>((resolve) => context.cancelled.addEventListener('abort', () => resolve(), { once: true }));
      journal('info', 'ending');
    } finally {
      await Promise.all(builders.map((one) => one.close()));
      await api?.close();
      await open.close().catch((error: unknown) => journal('error', 'ending', errorFields(error)));
    }
    return 0;
  });
}

/** Verbs on this machine find address and token here; others are given them by an operator. */
async function announceHere(folder: string, url: string, open: OpenFarm): Promise<void> {
  writeDurably(
    `${folder}/${CLIENT_FILE}`,
    `${JSON.stringify({ schema: 'lockstep-farm-client/v1', url, authority: open.services.authority.certificate })}\n`,
  );
  const file = `${folder}/${OPERATOR_TOKEN}`;
  const kept = existsSync(file) ? readFileSync(file, 'utf8').trim() : null;
  const { tokens, known, operators } = await countTokens(open, kept);
  // Known here; or another replica has the first one, and here nobody needs it.
  if (known > 0 || (kept === null && tokens > 0)) return;
  // A database that was made again, or restored, does not know what is kept here: then whoever has this folder gets another.
  const name = operators === 0 ? 'operator' : `operator-${randomBytes(4).toString('hex')}`;
  mkdirSync(`${folder}/tokens`, { recursive: true, mode: 0o700 });
  writeDurably(file, `${await makeToken(open.farm, name, 'operator', null)}\n`, 0o600);
}

async function countTokens(open: OpenFarm, kept: string | null): Promise<{ tokens: number; known: number; operators: number }> {
  const { reads } = open.farm.database;
  const all = await reads.selectFrom('tokens').select(['token', 'name']).execute();
  return {
    tokens: all.length,
    known: kept === null ? 0 : all.filter((one) => one.token === hashToken(kept)).length,
    operators: all.filter((one) => one.name === 'operator').length,
  };
}

/** Builds of many jobs at once are told of in the journal, one line each. */
function quietContext(context: Context): Context {
  const silent: Progress = { start: () => ({ update() {}, output() {}, done() {}, failed() {} }), note() {}, warn() {}, tail() {} };
  return { ...context, progress: silent };
}
