/** `lockstep builder run`: a building node of its own. It connects to the farm; nothing connects to it. */
import { existsSync, readFileSync } from 'node:fs';
import { startAgent } from '@lockstep/builder/node/agent';
import type { Ceilings } from '@lockstep/builder/node/capabilities';
import { transportKeyFile } from '@lockstep/builder/node/join';
import { exclusive } from '@lockstep/builder/node/work';
import { farmClient } from '@lockstep/api/client';
import { httpsTransport } from '@lockstep/api/https-transport';
import type { FarmClient } from '@lockstep/api/client';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { farmJournal } from '../../farm/farm-journal.ts';
import { type Joined, keepJoined, pinnedRootFile, readJoined } from '../../farm/joined.ts';
import { revealGuard } from '../../farm/reveal-guard.ts';
import { type CommonOptions, runVerb } from '../../session.ts';
import { tellReady } from '../ready-fd.ts';

interface Options extends CommonOptions {
  readonly slots: string;
  readonly maxMemory?: string;
  readonly maxDisk?: string;
  readonly maxSeconds?: string;
  readonly maxCpus?: string;
  readonly readyFd?: string;
  readonly debug?: boolean;
}

const HOUR = 3_600_000;
/** Milliseconds: how often is looked whether the certificate has run half out. */
const LOOK_EVERY = 60_000;

export function builderRun(options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    let joined = readJoined(context.store);
    const say = farmJournal(Date.now, options.debug === true);
    const key = readFileSync(transportKeyFile(context.settings.keyFile), 'utf8');
    const transport = httpsTransport({
      url: joined.url,
      authority: joined.authority,
      identity: () => ({ certificate: joined.certificate, key }),
    });
    const client = farmClient(transport.send, null);
    const renew = async (): Promise<void> => {
      const next = await renewed(client, joined);
      if (next === null) return;
      joined = next;
      keepJoined(context.store, joined);
      say('info', 'the certificate is renewed', { until: new Date(joined.expiresAt).toISOString() });
    };
    const timer = setInterval(
      () => void renew().catch((error: unknown) => say('warn', 'the certificate could not be renewed', { error: String(error) })),
      LOOK_EVERY,
    );
    const root = pinnedRootFile(context.store);
    const guard = existsSync(root) ? revealGuard(client, context.store, root) : null;
    if (guard === null) say('warn', 'no root is pinned: when to reveal is taken from the farm (lockstep builder join --root)');
    const agent = startAgent({
      context,
      client,
      name: joined.name,
      slots: wholeNumber('--slots', options.slots),
      ceilings: ceilingsOf(options),
      once: exclusive(),
      say,
      ready: () => tellReady(options.readyFd),
      ...(guard === null ? {} : { beforeReveal: (duty) => guard.check(duty) }),
    });
    print(`${joined.name}: builds for ${joined.url}`, { schema: 'lockstep-builder-run/v1', name: joined.name, url: joined.url });
    const cancelled = new Promise<null>((resolve) => context.cancelled.addEventListener('abort', () => resolve(null), { once: true }));
    const ended = await Promise.race([cancelled, agent.ended]);
    clearInterval(timer);
    await agent.close();
    transport.close();
    // A supervisor sees that it needs a person: join again.
    if (ended !== null) throw ended;
    return 0;
  });
}

/** A new certificate when the old one has less than a day left. */
async function renewed(client: FarmClient, joined: Joined): Promise<Joined | null> {
  if (joined.expiresAt - Date.now() > 24 * HOUR) return null;
  const { certificate, expiresAt } = await client.call('renew');
  return { ...joined, certificate, expiresAt };
}

function ceilingsOf(options: Options): Ceilings {
  return {
    ...(options.maxMemory === undefined ? {} : { memoryMb: wholeNumber('--max-memory', options.maxMemory) }),
    ...(options.maxDisk === undefined ? {} : { diskMb: wholeNumber('--max-disk', options.maxDisk) }),
    ...(options.maxSeconds === undefined ? {} : { seconds: wholeNumber('--max-seconds', options.maxSeconds) }),
    ...(options.maxCpus === undefined ? {} : { cpus: wholeNumber('--max-cpus', options.maxCpus) }),
  };
}

function wholeNumber(option: string, value: string): number {
  if (!/^[1-9][0-9]{0,8}$/.test(value))
    throw new LockstepError('USAGE', `${option} ${value} is no number`, 'Give a whole number from 1 on.');
  return Number(value);
}
