/** A farm of several processes, made for one test: its folder, its roles, a client of its operator, what was acknowledged. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { openAttestationKey } from '@lockstep/builder/attest/key';
import { join, transportKeyFile } from '@lockstep/builder/node/join';
import { farmClient, type FarmClient } from '@lockstep/api/client';
import { httpsTransport } from '@lockstep/api/https-transport';
import type { JobView } from '@lockstep/api/routes/jobs';
import { definitionToJson } from '@lockstep/protocol/definition/definition';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { publicKeyFromSpki, publicKeyToPem } from '@lockstep/protocol/key/p256';
import { makeFarm } from '../../packages/cli/src/farm/make-farm.ts';
import { signPolicy } from '../../packages/cli/src/trust/tuf-repository.ts';
import { prepareFor, type TestJob } from './definitions.ts';
import { type BuilderConfig, type Role, role } from './roles.ts';

/** Short, so that a lost lease is found soon; whatever waits for reveals and uploads keeps the farm's own limits. */
const LIMITS = { lease_seconds: 4, alive_seconds: 20, backoff_seconds: 1, requests_per_second: 5000, requests_at_once: 20_000 };
export const ARBITERS = ['arbiter-1', 'arbiter-2'] as const;
/** Milliseconds that the operator's client insists for. */
const INSIST = 60_000;

export interface WorldOptions {
  readonly builders?: number;
  /** Lines of farm.toml beyond those of every farm; `[limits]` goes last. */
  readonly toml?: readonly string[];
  readonly limits?: Readonly<Record<string, number>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Without their processes: the test speaks for them. */
  readonly idle?: boolean;
  /** Where the farm listens; 127.0.0.1 unless told otherwise. */
  readonly listen?: string;
  /** How the operator reaches it, and how builders do: host names of its certificate. */
  readonly host?: string;
  readonly hostForBuilders?: string;
  /** Ports of other replicas on the same host. */
  readonly morePorts?: readonly number[];
  readonly farmCommand?: readonly string[];
  readonly builderCommand?: readonly string[];
  /** Called on the farm's folder before anything runs. */
  readonly prepare?: (folder: string) => void;
}

export interface World {
  readonly root: string;
  readonly folder: string;
  readonly url: string;
  readonly farm: Role;
  readonly builders: ReadonlyMap<string, { readonly role: Role; readonly config: BuilderConfig }>;
  /** The operator's. Each call is made once. */
  readonly client: FarmClient;
  /** Every job whose submission was acknowledged. */
  readonly acknowledged: Map<string, TestJob>;
  /** As a person would: uploads and submits, and does it again until it is acknowledged. */
  submit(job: TestJob): Promise<void>;
  job(id: string): Promise<JobView>;
  /** Until all of these have come to an end. @throws when one has not in time */
  settled(jobs: readonly string[], milliseconds: number): Promise<Map<string, JobView>>;
  joinBuilder(name: string, client?: FarmClient): Promise<BuilderConfig>;
  close(): Promise<void>;
}

export async function makeWorld(root: string, options: WorldOptions = {}): Promise<World> {
  const roles: Role[] = [];
  try {
    return await start(root, options, roles);
  } catch (error) {
    await Promise.all(roles.map((one) => one.kill()));
    throw error;
  }
}

/** @param roles gets each role when it is started */
async function start(root: string, options: WorldOptions, roles: Role[]): Promise<World> {
  const folder = `${root}/farm`;
  const host = options.host ?? '127.0.0.1';
  const hostForBuilders = options.hostForBuilders ?? host;
  const port = await freePort();
  const urlAt = (name: string): string => [port, ...(options.morePorts ?? [])].map((one) => `https://${name}:${one}`).join(',');
  const url = urlAt(host);
  mkdirSync(root, { recursive: true });
  await makeFarm(
    folder,
    { name: 'faults', builders: options.builders ?? 2, witness: true, signer: false, listen: `${options.listen ?? host}:${port}` },
    Date.now() / 1000,
  );
  changePolicy(folder);
  const toml = readFileSync(`${folder}/farm.toml`, 'utf8').replace(
    /names = .*/,
    `names = ${JSON.stringify([...new Set([host, hostForBuilders])])}`,
  );
  const limits = Object.entries({ ...LIMITS, ...options.limits }).map(([key, value]) => `${key} = ${value}`);
  writeFileSync(`${folder}/farm.toml`, [...(options.toml ?? []), toml, '[limits]', ...limits, ''].join('\n'));
  options.prepare?.(folder);
  const farm = role('farm', 'farm-process.ts', [folder], `${root}/farm.log`, options.env, options.farmCommand);
  roles.push(farm);
  await farm.start();
  const authority = readFileSync(`${folder}/authority/authority.pem`, 'utf8');
  const token = readFileSync(`${folder}/tokens/operator`, 'utf8');
  const transport = httpsTransport({ url, authority, identity: null, timeout: 30_000 });
  const client = farmClient(transport.send, token);
  const acknowledged = new Map<string, TestJob>();
  const builders = new Map<string, { role: Role; config: BuilderConfig }>();

  const joinBuilder = async (name: string, asked = client): Promise<BuilderConfig> => {
    const keyFile = `${folder}/keys/${name}.pem`;
    const { id } = openAttestationKey(transportKeyFile(keyFile));
    const made = await asked.call('makeJoinToken', { body: { name, fingerprint: id } });
    // With the same token, again and again: an answer may be lost.
    const joined = await insist(() => join(farmClient(transport.send, null), keyFile, name, made.token));
    const store = `${root}/${name}`;
    prepareFor(store);
    return {
      name,
      url: urlAt(hostForBuilders),
      authority,
      certificate: joined.certificate,
      keyFile,
      store,
      slots: 2,
      leases: `${root}/leases`,
    };
  };
  for (let at = 1; at <= (options.builders ?? 2); at++) {
    const config = await joinBuilder(`builder-${at}`);
    const file = `${root}/${config.name}.json`;
    writeFileSync(file, JSON.stringify(config));
    const one = role(config.name, 'builder-process.ts', [file], `${root}/${config.name}.log`, {}, options.builderCommand);
    roles.push(one);
    builders.set(config.name, { role: one, config });
    if (options.idle !== true) await one.start();
  }
  const job = (id: string): Promise<JobView> => client.call('job', { params: { job: id } });
  return {
    root,
    folder,
    url,
    farm,
    builders,
    client,
    acknowledged,
    joinBuilder,
    job,
    submit: (wanted) =>
      insist(async () => {
        await submitOnce(client, wanted);
        acknowledged.set(wanted.job, wanted);
      }),
    async settled(jobs, milliseconds) {
      const until = Date.now() + milliseconds;
      const found = new Map<string, JobView>();
      for (;;) {
        for (const id of jobs) {
          if (found.has(id)) continue;
          const view = await job(id).catch((error: unknown) => {
            if (isAway(error)) return null;
            throw error;
          });
          if (view !== null && ['decided', 'failed', 'cancelled', 'disputed'].includes(view.state)) found.set(id, view);
        }
        if (found.size === jobs.length) return found;
        if (Date.now() > until)
          throw new Error(
            await stuck(
              client,
              jobs.filter((id) => !found.has(id)),
              milliseconds,
            ),
          );
        await delay(100);
      }
    },
    async close() {
      await Promise.all(roles.map((one) => one.kill()));
      transport.close();
    },
  };
}

export async function submitOnce(client: FarmClient, wanted: TestJob): Promise<void> {
  for (const [sha256, bytes] of wanted.carried) {
    const state = await client.call('inputState', { params: { sha256 } });
    if (state.complete) continue;
    if (!state.present.includes(sha256)) await client.call('putInputPart', { params: { sha256, part: sha256 }, body: bytes });
    await client.call('finishInput', { params: { sha256 }, body: { size: bytes.length, parts: [sha256] } });
  }
  await client.call('submit', { body: { definition: definitionToJson(wanted.definition) as never, priority: 0 } });
}

/** Again while the farm is away, as every program that talks to it does. */
export async function insist<T>(work: () => Promise<T>): Promise<T> {
  const until = Date.now() + INSIST;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isAway(error) || Date.now() > until) throw error;
      await delay(100);
    }
  }
}

/** Away, busy, or cut off in the middle of an answer. */
function isAway(error: unknown): boolean {
  if (!(error instanceof LockstepError))
    return error instanceof TypeError || error instanceof SyntaxError || (error instanceof Error && 'code' in error);
  const status = 'status' in error ? Number(error.status) : 0;
  return error.code === 'FARM_UNREACHABLE' || status >= 500 || status === 429;
}

async function stuck(client: FarmClient, jobs: readonly string[], milliseconds: number): Promise<string> {
  const told = await Promise.all(
    jobs.slice(0, 3).map(async (job) => {
      const { state, waitsFor } = await client.call('why', { params: { job } });
      return `${job.slice(0, 12)} is ${state}, and waits for: ${waitsFor.join('; ')}`;
    }),
  ).catch((error: unknown) => [String(error)]);
  return `${jobs.length} jobs have come to no end within ${milliseconds / 1000} s: ${told.join(' | ')}`;
}

/** Two of however many builders; arbiters for what they disagree on. */
function changePolicy(folder: string): void {
  const file = `${folder}/policy/policy.json`;
  const policy = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown> & { rules: Record<string, unknown>[] };
  const pem = (name: string): string =>
    publicKeyToPem(publicKeyFromSpki(new Uint8Array(openAttestationKey(`${folder}/keys/${name}.pem`).spki)));
  const next = {
    ...policy,
    version: 2,
    rules: policy.rules.map((rule) => ({ ...rule, quorum: 2 })),
    arbiters: { threshold: 2, members: ARBITERS.map((name) => ({ name, key: pem(name) })) },
  };
  writeFileSync(file, JSON.stringify(next));
  signPolicy(`${folder}/policy`, Buffer.from(JSON.stringify(next)), Date.now() / 1000, 1);
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
