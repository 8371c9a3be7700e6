/** A farm made for one test: a project with a pinned environment, builders with keys, a signed policy, a witnessed log. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { after } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { lockstep, project, type Ran, startLockstep, temporaryFolder } from './lockstep.ts';
import { freePort } from './free-port.ts';

const running: ReturnType<typeof startLockstep>[] = [];
after(async () => {
  for (const one of running) one.child.kill('SIGTERM');
  await Promise.all(running.map((one) => one.done));
});

let rootfs: { path: string; sha256: string } | null = null;

/** A shell and a few programs: enough to build with, and pinned by its digest. */
function smallRootfs(): { path: string; sha256: string } {
  if (rootfs !== null) return rootfs;
  const root = temporaryFolder();
  execFileSync('/bin/sh', [
    '-ec',
    `cd ${root}; mkdir -p r/bin r/etc; for p in sh cat ls date sleep; do cp /bin/$p r/bin/; done; for f in $(ldd /bin/sh /bin/ls /bin/date | grep -o '/[^ ]*' | grep '^/lib' | sort -u); do mkdir -p r$(dirname $f); cp -L $f r$f; done; tar -C r -cJf rootfs.tar.xz .`,
  ]);
  const path = `${root}/rootfs.tar.xz`;
  rootfs = { path, sha256: execFileSync('sha256sum', [path], { encoding: 'utf8' }).slice(0, 64) };
  return rootfs;
}

export function pinnedProject(steps: readonly string[]): string {
  const { path, sha256 } = smallRootfs();
  const folder = project({ environment: `kind = "rootfs"\nurl = "${path}"\nsha256 = "${sha256}"`, steps });
  const locked = lockstep(['lock', folder, '-q']);
  if (locked.status !== 0) throw new Error(locked.stderr);
  return folder;
}

export interface Witness {
  readonly folder: string;
  readonly keys: readonly string[];
  readonly port: number;
  start(logKey: string): Promise<void>;
  stop(): Promise<void>;
}

export async function makeWitness(name = 'witness.example.net/w1'): Promise<Witness> {
  const folder = `${temporaryFolder()}/witness`;
  const keys = succeed(['witness-keys', folder, '--name', name]).trim().split('\n');
  const port = await freePort();
  let process_: ReturnType<typeof startLockstep> | null = null;
  return {
    folder,
    keys,
    port,
    async start(logKey) {
      process_ = startLockstep(['witness', folder, '--log', logKey, '--listen', `127.0.0.1:${port}`]);
      running.push(process_);
      await answers(`http://127.0.0.1:${port}/`, process_);
    },
    async stop() {
      process_?.child.kill('SIGTERM');
      await process_?.done;
    },
  };
}

function witnessPolicy(witness: Witness): string {
  const url = `http://127.0.0.1:${witness.port}`;
  return [...witness.keys.map((key, at) => `witness k${at} ${key} ${url}`), 'group w1 all k0 k1', 'quorum w1', ''].join('\n');
}

export interface TestLog {
  readonly folder: string;
  readonly key: string;
}

export function makeLog(witness: Witness | null, origin = 'log.example.org/farm'): TestLog {
  const root = temporaryFolder();
  if (witness !== null) writeFileSync(`${root}/witnesses`, witnessPolicy(witness));
  const folder = `${root}/log`;
  const args = witness === null ? [] : ['--witnesses', `${root}/witnesses`];
  return { folder, key: succeed(['log', 'init', folder, '--origin', origin, ...args]).split('\n')[0] ?? '' };
}

export interface Farm {
  readonly root: string;
  readonly witness: Witness;
  readonly log: TestLog;
  /** `--policy … --root …` */
  readonly trust: readonly string[];
  readonly rootFile: string;
  /** Environment that makes lockstep one of the builders. */
  readonly as: (builder: string) => Readonly<Record<string, string>>;
  readonly arbiter: (name: string) => string;
  /** Changes the policy as the offline signer would. */
  readonly repolicy: (change: (policy: Record<string, unknown>) => void) => void;
}

export const BUILDERS = ['a', 'b', 'c'] as const;
const ARBITERS = ['x', 'y', 'z'] as const;

export async function makeFarm(rule: Readonly<Record<string, unknown>> = {}): Promise<Farm> {
  const root = temporaryFolder();
  const witness = await makeWitness();
  const log = makeLog(witness);
  await witness.start(log.key);
  succeed(['policy', 'init', `${root}/trust`, '--name', 'test']);
  const keyFile = (name: string): string => `${root}/${name}.pem`;
  const domain = (name: string): object => ({ operator: `org ${name}`, site: `site ${name}`, lineage: `linux ${name}`, simulated: true });
  const file = `${root}/trust/policy.json`;
  const policy = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  Object.assign(policy, {
    builders: BUILDERS.map((name) => ({ name, key: succeed(['key', 'make', keyFile(name)]), domain: domain(name) })),
    arbiters: { threshold: 2, members: ARBITERS.map((name) => ({ name, key: succeed(['key', 'make', keyFile(name)]) })) },
    logs: [{ key: log.key, operator: 'org a', site: 'site a', simulated: true }],
    witnesses: [{ name: 'w1', keys: witness.keys, operator: 'org w', site: 'site w', simulated: true }],
    witness_quorum: 'w1',
    rules: [{ packages: '*', tier: 'container', quorum: 2, sources: ['*'], ...rule }],
  });
  writeFileSync(file, JSON.stringify(policy));
  succeed(['policy', 'sign', `${root}/trust`]);
  const rootFile = `${root}/trust/repository/metadata/1.root.json`;
  return {
    root,
    witness,
    log,
    rootFile,
    trust: ['--policy', `${root}/trust`, '--root', rootFile],
    as: (builder) => ({ LOCKSTEP_KEY: keyFile(builder) }),
    arbiter: keyFile,
    repolicy(change) {
      const next = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
      next['version'] = Number(next['version']) + 1;
      change(next);
      writeFileSync(file, JSON.stringify(next));
      succeed(['policy', 'sign', `${root}/trust`]);
    },
  };
}

/** Runs it, and fails the test with what it said unless it succeeds. */
export function succeed(args: readonly string[], env: Readonly<Record<string, string>> = {}): string {
  return ended(args, 0, env).stdout;
}

export function ended(args: readonly string[], status: number, env: Readonly<Record<string, string>> = {}): Ran {
  const run = lockstep(args, { env });
  if (run.status !== status)
    throw new Error(`lockstep ${args.join(' ')}: status ${run.status}, expected ${status}\n${run.stdout}\n${run.stderr}`);
  return run;
}

/** Opens a round and lets these builders build under what they were dealt. @returns the attestation of each */
export function buildRound(farm: Farm, folder: string, builders: readonly string[] = BUILDERS): Map<string, string> {
  const opening = `${farm.root}/opening.json`;
  writeFileSync(opening, succeed(['quorum', 'open', folder, ...farm.trust, '--log', farm.log.folder, '--json']));
  return new Map(
    builders.map((name) => {
      // Not within the project: its folder is its source.
      const out = `${temporaryFolder()}/out`;
      succeed(['build', folder, '--round', opening, '--out', out, '-q'], farm.as(name));
      return [name, `${out}/case-1.intoto.json`];
    }),
  );
}

export function inRound(farm: Farm, step: string, builder: string, attestation: string, status = 0): Ran {
  return ended(['quorum', step, attestation, ...farm.trust, '--log', farm.log.folder, '--json'], status, farm.as(builder));
}

async function answers(url: string, process_: ReturnType<typeof startLockstep>): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (process_.child.exitCode !== null) throw new Error((await process_.done).stderr);
    try {
      await (await fetch(url)).arrayBuffer();
      return;
    } catch {
      await delay(50);
    }
  }
  throw new Error('the witness does not answer');
}
