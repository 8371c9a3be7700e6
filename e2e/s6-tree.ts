/** The service folders of deploy/s6, really run: an s6-svscan of our own over copies of them in a temporary folder. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { cpSync, existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { ROOT } from './lockstep.ts';

const run = promisify(execFile);

type Kind = 'farm' | 'builder' | 'witness';

export interface Service {
  readonly name: string;
  /** null while it is down, or about to be started again. */
  pid(): Promise<number | null>;
  /** Until it has written to its notification descriptor. @throws Error with its last words */
  ready(seconds: number): Promise<void>;
  signal(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void>;
  /** SIGKILL, and it is not started again until `up`. */
  keepDown(): Promise<void>;
  up(): Promise<void>;
  /** Changes its environment and starts it again. */
  restart(env: Readonly<Record<string, string>>): Promise<void>;
  /** All that it has said, without time stamps. */
  said(): string;
}

export interface S6Tree {
  add(kind: Kind, name: string, env: Readonly<Record<string, string>>): Promise<Service>;
  /** Brings everything down; what does not go is killed after a while. */
  stop(): Promise<void>;
}

/** Milliseconds: longer than each service's own timeout-kill. */
const LONGEST_END = 45_000;

export function startS6(folder: string): S6Tree {
  const services = `${folder}/services`;
  mkdirSync(services, { recursive: true });
  // Ends with this process at the latest.
  const scan = spawn('setpriv', ['--pdeathsig', 'TERM', 's6-svscan', services], { stdio: ['ignore', 'ignore', 'ignore'] });
  const ended = new Promise<void>((resolve) => scan.once('close', () => resolve()));
  return {
    async add(kind, name, env) {
      const made = `${folder}/${name}.new`;
      cpSync(`${ROOT}/deploy/s6/${kind}`, made, { recursive: true });
      const logs = `${folder}/logs/${name}`;
      writeEnvironment(`${made}/env`, { LOG_FOLDER: logs, ...env });
      renameSync(made, `${services}/${name}`);
      await answers(() => run('s6-svscanctl', ['-a', services]));
      const service = serviceOf(name, `${services}/${name}`, logs);
      await answers(() => run('s6-svstat', [`${services}/${name}`]));
      return service;
    },
    stop: () => stopTree(scan, ended, services),
  };
}

function serviceOf(name: string, folder: string, logs: string): Service {
  const pid = async (): Promise<number | null> => {
    const { stdout } = await run('s6-svstat', ['-o', 'pid', folder]);
    const found = Number(stdout.trim());
    return found > 0 ? found : null;
  };
  const said = (): string =>
    globSync(`${logs}/{@*,current}`)
      .sort()
      .map((file) => readFileSync(file, 'utf8'))
      .join('')
      .replaceAll(/^@[0-9a-f]{24} /gm, '');
  return {
    name,
    pid,
    said,
    async ready(seconds) {
      try {
        await run('s6-svwait', ['-U', '-t', String(seconds * 1000), folder]);
      } catch {
        throw new Error(`${name} is not ready after ${seconds} s: ${said().slice(-2000)}`);
      }
    },
    async signal(signal) {
      const found = await pid();
      if (found === null) throw new Error(`${name} does not run`);
      process.kill(found, signal);
    },
    keepDown: async () => void (await run('s6-svc', ['-wd', '-T', '10000', '-Ok', folder])),
    up: async () => void (await run('s6-svc', ['-u', folder])),
    async restart(env) {
      writeEnvironment(`${folder}/env`, env);
      await run('s6-svc', ['-wR', '-T', '45000', '-r', folder]);
    },
  };
}

function writeEnvironment(folder: string, env: Readonly<Record<string, string>>): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (const [key, value] of Object.entries(env)) writeFileSync(`${folder}/${key}`, `${value}\n`, { mode: 0o600 });
}

async function stopTree(scan: ChildProcess, ended: Promise<void>, services: string): Promise<void> {
  await run('s6-svscanctl', ['-t', services]).catch(() => scan.kill('SIGTERM'));
  await Promise.race([ended, sleep(LONGEST_END, undefined, { ref: false })]);
  if (scan.exitCode === null && scan.signalCode === null) {
    for (const folder of globSync(`${services}/*`)) await run('s6-svc', ['-dk', folder]).catch(() => undefined);
    await Promise.race([ended, sleep(5000, undefined, { ref: false })]);
    scan.kill('SIGKILL');
  }
  if (existsSync(services)) rmSync(services, { recursive: true, force: true });
}

async function answers(ask: () => Promise<unknown>): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await ask();
      return;
    } catch (error) {
      if (attempt === 100) throw error;
      await sleep(50);
    }
  }
}
