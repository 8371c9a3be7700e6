/** What both configurations of whole-farm.ts are made of: a running farm as the story sees it, and how its policy is written. */
import { type ChildProcess, execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync, copyFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { farmClient, type FarmClient } from '@lockstep/api/client';
import { httpsTransport } from '@lockstep/api/https-transport';
import { CLI, type Ran, ROOT, SILO } from './lockstep.ts';
import type { S6Tree, Service } from './s6-tree.ts';

/** A farm with three builders of which the last is a process of its own, to be silenced and to lie. */
export interface WholeFarm {
  readonly root: string;
  readonly replicas: readonly Service[];
  /** Names of the two that stay honest. */
  readonly honest: readonly string[];
  readonly third: { readonly name: string; readonly service: Service; lie(): Promise<void> };
  /** Runs `lockstep` as an operator of this farm. */
  cli(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Ran>;
  readonly client: FarmClient;
  /** Origin, key and https address of the log. */
  readonly log: { readonly key: string; readonly url: string };
  readonly authorityFile: string;
  readonly policyFolder: string;
  /** Cuts one builder and the witness off for so long; null where everything is on one address. */
  readonly cutNetwork: ((seconds: number) => Promise<void>) | null;
  /** What each service is, for what went wrong. */
  readonly services: readonly Service[];
}

const running = new Set<ChildProcess>();

/** Those that still run when a story has failed. */
export function endVerbs(): void {
  for (const child of running) child.kill('SIGKILL');
}

/** @param command that it is run by, such as one that enters a namespace */
export async function lockstepIn(
  command: readonly string[],
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  timeout = 120_000,
): Promise<Ran> {
  const [program, ...before] = [...command, process.execPath, CLI];
  return new Promise((resolve) => {
    const child = execFile(
      program,
      [...before, ...args],
      { env: { ...process.env, ...env }, timeout, maxBuffer: 64 << 20, killSignal: 'SIGKILL' },
      (error, stdout, stderr) => {
        running.delete(child);
        const status = error === null ? 0 : typeof error.code === 'number' ? error.code : null;
        resolve({ status, signal: error?.signal ?? null, stdout, stderr });
      },
    );
    running.add(child);
  });
}

/** What it printed. @throws Error with all that it said unless it ended with this status */
export function must(run: Ran, what: string, status = 0): string {
  if (run.status !== status)
    throw new Error(`${what}: status ${run.status}, not ${status}\n${run.stdout.slice(-2000)}\n${run.stderr.slice(-2000)}`);
  return run.stdout;
}

/** The value once there is one. @throws Error after so many seconds, saying what was waited for */
export async function until<T>(what: string, seconds: number, look: () => Promise<T | null>): Promise<T> {
  const end = Date.now() + seconds * 1000;
  let last: unknown = null;
  for (;;) {
    try {
      const found = await look();
      if (found !== null) return found;
      last = null;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end)
      throw new Error(
        `after ${seconds} s there still is not ${what}${last === null ? '' : `: ${last instanceof Error ? last.message : JSON.stringify(last)}`}`,
      );
    await sleep(200);
  }
}

export function connect(url: string, authorityFile: string, token: string): FarmClient {
  return farmClient(httpsTransport({ url, authority: readFileSync(authorityFile, 'utf8'), identity: null, timeout: 15_000 }).send, token);
}

interface Keys {
  readonly transport: string;
  readonly attestationPem: string;
}

/** A builder's two keys, made in its own folder. */
export async function builderKeys(home: string): Promise<Keys> {
  return JSON.parse(must(await lockstepIn([], ['builder', 'keys', '--json'], { LOCKSTEP_HOME: home }), 'builder keys')) as Keys;
}

/** Two of three agree on anything; packages called held-… need all three. */
export const RULES = ['held-*', '*'].map((packages) => ({
  packages,
  tier: 'container',
  quorum: packages === '*' ? 2 : 3,
  commitments: 'required',
  variations: ['cpu-model', 'memory'],
  sources: ['*'],
}));

export function policyBuilder(name: string, key: string): Record<string, unknown> {
  return { name, key, domain: { operator: `operator ${name}`, site: `site ${name}`, lineage: `linux ${name}`, simulated: true } };
}

/** Changes the policy as its offline signer would. */
export async function repolicy(folder: string, change: (policy: Record<string, unknown>) => void): Promise<void> {
  const policy = JSON.parse(readFileSync(`${folder}/policy.json`, 'utf8')) as Record<string, unknown>;
  policy['version'] = Number(policy['version']) + 1;
  change(policy);
  writeFileSync(`${folder}/policy.json`, `${JSON.stringify(policy, null, 2)}\n`);
  must(await lockstepIn([], ['policy', 'sign', folder], {}), 'policy sign');
}

/** Short, so that a test need not wait for what an operator would not notice. */
export const LIMITS = ['', '[limits]', 'lease_seconds = 6', 'alive_seconds = 30', 'backoff_seconds = 1', 'reveal_seconds = 60', ''].join(
  '\n',
);

/** A join token from the farm, used by the builder. */
export async function joinFarm(
  farm: Pick<WholeFarm, 'cli'>,
  builder: { readonly name: string; readonly home: string; readonly transport: string },
  url: string,
  authority: string,
  within: readonly string[] = [],
): Promise<void> {
  const made = must(await farm.cli(['farm', 'join-token', builder.name, '--key', `sha256:${builder.transport}`, '--json']), 'join-token');
  const { token } = JSON.parse(made) as { token: string };
  const args = ['builder', 'join', url, '--name', builder.name, '--token', token, '--authority', `sha256:${authority}`];
  must(await lockstepIn(within, args, { LOCKSTEP_HOME: builder.home }), 'builder join');
  const thief = await lockstepIn(within, args, { LOCKSTEP_HOME: `${builder.home}-thief` });
  if (thief.status === 0) throw new Error('somebody else has joined with the token of another builder');
}

/**
 * A command that runs another one where the silo is a liar: it changes one byte of each output of a build after the real
 * one has run. Everything above it is the real builder. Only that process sees it.
 */
export function lyingCommand(root: string): readonly string[] {
  const folder = `${root}/liar`;
  if (!existsSync(folder)) {
    mkdirSync(folder);
    copyFileSync(SILO, `${folder}/real-silo`);
    symlinkSync(`${ROOT}/packages/silo/src/main.ts`, `${folder}/silo.js`);
    writeFileSync(
      `${folder}/silo`,
      [
        '#!/bin/sh',
        `sh ${folder}/real-silo "$@"`,
        'status=$?',
        'grep -q \'"profile":"build"\' "$2/job.json" && for file in "$2"/outputs/*; do [ -f "$file" ] && printf x >> "$file"; done',
        'exit $status',
        '',
      ].join('\n'),
      { mode: 0o755 },
    );
  }
  return withMounted(folder, `${folder}/silo`, SILO);
}

/** A command that runs another one with a file in another one's place: in a mount namespace of its own, so nobody else sees it. */
export function withMounted(folder: string, file: string, over: string): readonly string[] {
  const script = `${folder}/over-${over.replaceAll('/', '_')}.sh`;
  writeFileSync(script, `mount --bind ${file} ${over}\nexec "$@"\n`);
  return ['unshare', '--mount', '--', 'sh', '-eu', script];
}

/** A line for LOCKSTEP in a service's environment. */
export function commandLine(...commands: readonly (readonly string[])[]): string {
  return [...commands.flat(), process.execPath, CLI].join(' ');
}

/** What a farm printed when it began to serve. */
export function announced(farm: Service): Promise<{ readonly authority: string; readonly log: string }> {
  return until('what the farm prints', 10, () => {
    const line = /^\{"schema":"lockstep-farm\/v1".*\}$/m.exec(farm.said())?.[0];
    return Promise.resolve(line === undefined ? null : (JSON.parse(line) as { authority: string; log: string }));
  });
}

/** One process, SQLite, a folder: the farm, and one builder beside it. */
export async function sqliteFarm(root: string, tree: S6Tree, port: number): Promise<WholeFarm> {
  const folder = `${root}/farm`;
  const home = `${root}/third`;
  const url = `https://127.0.0.1:${port}`;
  must(
    await lockstepIn([], ['farm', 'init', folder, '--listen', `127.0.0.1:${port}`], { LOCKSTEP_HOME: `${root}/farm-home` }),
    'farm init',
  );
  writeFileSync(`${folder}/farm.toml`, `${readFileSync(`${folder}/farm.toml`, 'utf8').replace(/^(?=\[\[builder)/m, `${LIMITS}\n`)}`);
  const keys = await builderKeys(home);
  await repolicy(`${folder}/policy`, (policy) => {
    policy['rules'] = RULES;
    (policy['builders'] as unknown[]).push(policyBuilder('third', keys.attestationPem));
  });
  const farm = await tree.add('farm', 'farm', {
    FARM: folder,
    ROLE: 'all',
    LOCKSTEP: commandLine(),
    LOCKSTEP_HOME: `${root}/farm-home`,
  });
  await farm.ready(30);
  const cli: WholeFarm['cli'] = (args, env = {}) => lockstepIn([], args, { LOCKSTEP_FARM: folder, ...env });
  const said = await announced(farm);
  await joinFarm({ cli }, { name: 'third', home, transport: keys.transport }, url, said.authority);
  const third = await tree.add('builder', 'third', { LOCKSTEP: commandLine(), LOCKSTEP_HOME: home });
  await third.ready(30);
  const authorityFile = `${folder}/authority/authority.pem`;
  return {
    root,
    replicas: [farm],
    honest: ['builder-1', 'builder-2'],
    third: { name: 'third', service: third, lie: () => third.restart({ LOCKSTEP: commandLine(lyingCommand(root)) }) },
    cli,
    client: connect(url, authorityFile, readFileSync(`${folder}/tokens/operator`, 'utf8').trim()),
    log: { key: said.log, url: `${url}/log` },
    authorityFile,
    policyFolder: `${folder}/policy`,
    cutNetwork: null,
    services: [farm, third],
  };
}
