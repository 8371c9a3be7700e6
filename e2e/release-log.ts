/**
 * A farm whose builders agree, made quickly for tests of signing nodes: a witnessed log, a signed policy, two builders with
 * keys. Their statements are made from samples, so that nothing has to be built; keys, policy and log are real.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { openAttestationKey } from '@lockstep/builder/attest/key';
import { initLog, openLogHome } from '@lockstep/log/sequence/log-home';
import type { Submission } from '@lockstep/log/sequence/submission';
import { buildId, makeDefinition } from '@lockstep/protocol/definition/definition';
import { sampleLock, sampleManifest } from '@lockstep/protocol/definition/samples';
import { digestBytes, type Sha256 } from '@lockstep/protocol/digest/digest';
import { IN_TOTO_PAYLOAD, pae } from '@lockstep/protocol/dsse/envelope';
import { canonicalBytes } from '@lockstep/protocol/json/canonical';
import type { Json } from '@lockstep/protocol/json/parse';
import { anyKeyToPem } from '@lockstep/protocol/key/any-key';
import type { Algorithm, KeyUse } from '@lockstep/protocol/key/key-use';
import { publicKeyFromSpki, publicKeyToPem } from '@lockstep/protocol/key/p256';
import { resolvesDigest } from '@lockstep/protocol/lock/lock';
import { formatVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { statementOfBuild } from '@lockstep/protocol/provenance/statement-of-build';
import { makeFileKey } from '@lockstep/signer/custody/file-key';
import { appendTo } from '../packages/cli/src/farm-log.ts';
import { initSigner } from '../packages/cli/src/signer/home.ts';
import { openRoleKeys, signPolicy } from '../packages/cli/src/trust/tuf-repository.ts';
import { makeLog, makeWitness, type TestLog, type Witness } from './farm.ts';
import { errorOf, type ErrorData, type Ran, temporaryFolder } from './lockstep.ts';
import { lockstepWarm } from './lockstep-warm.ts';

export interface Built {
  readonly buildId: string;
  /** A folder with the outputs, and the first of them. */
  readonly folder: string;
  readonly file: string;
  /** What each builder says, in the order of `builders`. */
  readonly submissions: readonly Submission[];
}

interface BuildParts {
  readonly name?: string;
  readonly files?: Readonly<Record<string, Uint8Array | string>>;
  /** Who says so, in this order. */
  readonly builders?: readonly string[];
  /** Statements are written, and not logged. */
  readonly unlogged?: boolean;
}

export interface ReleaseLog {
  readonly root: string;
  readonly log: TestLog;
  readonly witness: Witness | null;
  readonly rootFile: string;
  readonly policyFolder: string;
  /** `--root … --policy … --log …` */
  readonly trust: readonly string[];
  /** A store of its own: what it remembers of nodes. */
  readonly env: Readonly<Record<string, string>>;
  build(version: string, parts?: BuildParts): Promise<Built>;
  /** Changes the policy and signs it as the next version. */
  policy(change: Readonly<Record<string, Json>>): void;
  /** As the policy lists them. */
  builders(): readonly Json[];
  /** Runs lockstep in its store. @returns what it printed */
  run(...args: readonly string[]): string;
  /** Expects this error. */
  fails(code: string, status: number, ...args: readonly string[]): ErrorData;
  ends(status: number, ...args: readonly string[]): Ran;
}

const BUILDERS = ['a', 'b'] as const;

export async function makeReleaseLog({ witnessed = false } = {}): Promise<ReleaseLog> {
  const root = temporaryFolder();
  const env = { LOCKSTEP_HOME: `${root}/home` };
  const witness = witnessed ? await makeWitness() : null;
  const log = witness === null ? ownLog(`${root}/log`) : makeLog(witness);
  if (witness !== null) await witness.start(log.key);
  const policyFolder = `${root}/trust`;
  const rootFile = `${policyFolder}/repository/metadata/1.root.json`;
  mkdirSync(`${policyFolder}/keys`, { recursive: true, mode: 0o700 });
  for (const role of ['root', 'targets', 'snapshot', 'timestamp'] as const) openRoleKeys(policyFolder, role, 1, 1);
  const domain = (name: string): Json => ({ operator: `org ${name}`, site: `site ${name}`, lineage: `linux ${name}` });
  let current: Record<string, Json> = {
    schema: 'lockstep-policy/v1',
    name: 'test',
    version: 0,
    expires: new Date(Date.now() + 300 * 86_400_000).toISOString().replace(/\.\d+Z$/, 'Z'),
    builders: BUILDERS.map((name) => ({ name, key: pemOf(`${root}/${name}.pem`), domain: domain(name) })),
    logs: [{ key: log.key, operator: 'org l', site: 'site l' }],
    witnesses: witness === null ? [] : [{ name: 'w1', keys: [...witness.keys], operator: 'org w', site: 'site w' }],
    witness_quorum: witness === null ? 'none' : 'w1',
    rules: [{ packages: '*', tier: 'container', quorum: 2, commitments: 'none', sources: ['*'] }],
  };
  const policy = (change: Readonly<Record<string, Json>>): void => {
    current = { ...current, version: Number(current['version']) + 1, ...change };
    const bytes = Buffer.from(JSON.stringify(current));
    writeFileSync(`${policyFolder}/policy.json`, bytes);
    signPolicy(policyFolder, bytes, Date.now() / 1000, 1);
  };
  policy({});
  const ends = (status: number, ...args: readonly string[]): Ran => {
    const ran = lockstepWarm(args, env);
    if (ran.status === status) return ran;
    throw new Error(`lockstep ${args.join(' ')}: status ${ran.status}, expected ${status}\n${ran.stdout}\n${ran.stderr}`);
  };
  return {
    root,
    log,
    witness,
    rootFile,
    policyFolder,
    trust: ['--root', rootFile, '--policy', policyFolder, '--log', `${log.folder}/public`],
    env,
    policy,
    builders: () => current['builders'] as readonly Json[],
    run: (...args) => ends(0, ...args).stdout,
    ends,
    fails: (code, status, ...args) => {
      const ran = ends(status, ...args, '--json');
      const error = errorOf(ran.stdout);
      if (error.code !== code) throw new Error(`lockstep ${args.join(' ')}: ${error.code}, expected ${code}: ${error.message}`);
      return error;
    },
    async build(version, parts = {}) {
      const built = stated(root, version, parts);
      if (parts.unlogged !== true) await appendTo(openLogHome(log.folder), built.submissions);
      return built;
    },
  };
}

function ownLog(folder: string): TestLog {
  return { folder, key: formatVerifierKey(initLog(folder, 'log.example.org/farm', null).key) };
}

/** Made when it is not there. */
function pemOf(file: string): string {
  return publicKeyToPem(publicKeyFromSpki(new Uint8Array(openAttestationKey(file).spki)));
}

/** The files of a build, and a statement of each builder that they came out. */
function stated(root: string, version: string, { name = 'hello', files = {}, builders = BUILDERS }: BuildParts): Built {
  const manifest = { ...sampleManifest(), name, version };
  const definition = makeDefinition(manifest, { ...sampleLock(), resolves: resolvesDigest(manifest) });
  const folder = `${temporaryFolder()}/${name}-${version}`;
  mkdirSync(folder);
  const contents = Object.entries({ hello: `${name} ${version}\n`, ...files }).map(
    ([file, content]) => [file, Buffer.from(content)] as const,
  );
  for (const [file, content] of contents) writeFileSync(`${folder}/${file}`, content);
  const outputs = contents.map(([file, content]) => {
    const digest = digestBytes(content);
    return { name: file, size: content.length, digest: { ...digest, sha256: digest.sha256 as Sha256 } };
  });
  const submissions = builders.map((builder): Submission => {
    const statement = statementOfBuild({
      definition,
      farmId: `farm-of-${builder}`,
      outputs,
      sandbox: { runtime: 'runc 1', cgroup: 'v2', kernel: '6.1', silo: '0.1.0' },
      environmentSha256: 'e'.repeat(64),
      variation: null,
      byproducts: [],
      builderVersion: '0.1.0',
      invocationId: `by ${builder}`,
      startedOn: 1_700_000_000,
      finishedOn: 1_700_000_100,
    });
    const payload = canonicalBytes(JSON.parse(JSON.stringify(statement)) as Json);
    const key = openAttestationKey(`${root}/${builder}.pem`);
    const signature = key.sign(pae(IN_TOTO_PAYLOAD, payload));
    return { payloadType: IN_TOTO_PAYLOAD, payload, signature, signer: publicKeyFromSpki(new Uint8Array(key.spki)) };
  });
  return { buildId: buildId(definition), folder, file: `${folder}/hello`, submissions };
}

export interface TestNode {
  readonly folder: string;
  readonly card: string;
  /** `--node CARD@local:FOLDER` */
  readonly local: readonly string[];
}

export async function makeNode(farm: ReleaseLog, name: string, coordinators: readonly string[] = []): Promise<TestNode> {
  const folder = `${farm.root}/${name}`;
  await initSigner(folder, readFileSync(farm.rootFile), { name, lines: ['main'], coordinators }, new Date());
  return { folder, card: `${folder}/card.json`, local: ['--node', `${folder}/card.json@local:${folder}`] };
}

/** Unencrypted, as `lockstep key new --no-passphrase` makes it. @returns its public half */
export async function makeKey(node: TestNode, name: string, use: KeyUse = 'release-dsse', algorithm?: Algorithm): Promise<string> {
  const path = `${node.folder}/keys/${name}.json`;
  const made = await makeFileKey({ path, name, use, passphrase: null, now: new Date(), ...(algorithm === undefined ? {} : { algorithm }) });
  return anyKeyToPem(made.public);
}

/** Each of these keys, by name, approves releases. */
export function releaseKeys(farm: ReleaseLog, keys: Readonly<Record<string, string>>, threshold = 1, formats: readonly Json[] = []): void {
  farm.policy({ release: { threshold, keys: Object.entries(keys).map(([name, key]) => ({ name, key })), formats } });
}

interface Step {
  readonly name: string;
  readonly state: 'pass' | 'fail' | 'unreached';
  readonly detail: string;
}

export interface Verdict {
  readonly ok: boolean;
  readonly step: (name: string) => Step;
}

/** What `lockstep verify` says, step by step. */
export function verdict(farm: ReleaseLog, file: string, ...more: readonly string[]): Verdict {
  const args = ['verify', file, ...farm.trust, '--json', ...more];
  const ran = lockstepWarm(args, farm.env);
  if (ran.status !== 0 && ran.status !== 6) throw new Error(`lockstep ${args.join(' ')}: ${ran.status}\n${ran.stdout}${ran.stderr}`);
  const { ok, steps } = JSON.parse(ran.stdout) as { ok: boolean; steps: readonly Step[] };
  if (ok !== (ran.status === 0)) throw new Error(`the exit code of verify says something else: ${ran.stdout}`);
  return {
    ok,
    step: (name) => {
      const found = steps.find((one) => one.name === name);
      if (found === undefined) throw new Error(`the verdict has no step ${name}`);
      return found;
    },
  };
}

/** Fails unless the file is approved by these seats of the policy; the seats as `verify` writes them. */
export function requireApprovedBy(farm: ReleaseLog, file: string, seats: string): void {
  const { ok, step } = verdict(farm, file);
  if (!ok || !step('approval').detail.startsWith(`${seats} (`)) throw new Error(`${file}: ${step('approval').detail}`);
}
