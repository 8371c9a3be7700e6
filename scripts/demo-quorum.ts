/**
 * The second half of the demo: three builders with keys and failure domains of their own build one definition under three
 * different conditions, commit, reveal and agree; the log is witnessed, and an observer decides the same from a mirror.
 * Then one of them lies.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createPrivateKey, sign } from 'node:crypto';
import { appendFileSync, copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { basename } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { canonicalBytes } from '@lockstep/protocol/json/canonical';
import type { Json } from '@lockstep/protocol/json/parse';
import { formatEnvelope, pae, parseEnvelope } from '@lockstep/protocol/dsse/envelope';
import { digestFile } from '@lockstep/store/digests';

export interface DemoTools {
  readonly cli: string;
  readonly folder: string;
  /** Runs lockstep, shows it, and returns what it printed. */
  readonly lockstep: (args: readonly string[], expected?: number, env?: Readonly<Record<string, string>>) => string;
  /** The same without showing what it printed. */
  readonly quietly: (args: readonly string[], env?: Readonly<Record<string, string>>) => string;
  readonly heading: (text: string) => void;
}

const BUILDERS = ['anna', 'bo', 'cem'] as const;

export async function quorumDemo(tools: DemoTools, project: string, deb: string): Promise<void> {
  const { folder, lockstep, quietly, heading, cli } = tools;
  const keyOf = (name: string): Record<string, string> => ({ LOCKSTEP_KEY: `${folder}/keys/${name}.pem` });

  heading('8. A policy: three builders in three failure domains, a log, a witness; two of three have to agree');
  const port = await freePort();
  const witnessKeys = quietly(['witness-keys', `${folder}/witness`, '--name', 'witness.example.net/w1'])
    .trim()
    .split('\n');
  const url = `http://127.0.0.1:${port}`;
  const witnessPolicy = [...witnessKeys.map((key, at) => `witness k${at} ${key} ${url}`), 'group w1 all k0 k1', 'quorum w1', ''].join('\n');
  writeFileSync(`${folder}/witnesses`, witnessPolicy);
  const logKey =
    lockstep(['log', 'init', `${folder}/log`, '--origin', 'log.example.org/farm', '--witnesses', `${folder}/witnesses`]).split('\n')[0] ??
    '';
  writeFileSync(`${folder}/log.vkey`, `${logKey}\n`);
  quietly(['policy', 'init', `${folder}/trust`, '--name', 'demo']);
  writePolicy(tools, logKey, witnessKeys);
  lockstep(['policy', 'sign', `${folder}/trust`]);
  const trust = ['--policy', `${folder}/trust`, '--root', `${folder}/trust/repository/metadata/1.root.json`];
  lockstep(['policy', 'explain', `${folder}/trust`, ...trust.slice(2)]);
  const witness = spawn(process.execPath, [cli, 'witness', `${folder}/witness`, '--log', logKey, '--listen', `127.0.0.1:${port}`, '-q'], {
    stdio: 'ignore',
  });
  try {
    await answers(url, witness);
    const log = ['--log', `${folder}/log`];

    heading('9. A round: each builder is dealt other conditions, builds, and commits before anybody reveals');
    writeFileSync(`${folder}/opening.json`, quietly(['quorum', 'open', project, ...trust, ...log, '--json']));
    const dealt = JSON.parse(readFileSync(`${folder}/opening.json`, 'utf8')) as {
      opening: { roster: { builder: string; ambient: object }[] };
    };
    for (const { builder, ambient } of dealt.opening.roster) process.stdout.write(`${builder}: ${JSON.stringify(ambient)}\n`);
    for (const name of BUILDERS)
      lockstep(['build', project, '--round', `${folder}/opening.json`, '--out', `${folder}/out-${name}`, '-q'], 0, keyOf(name));
    const attested = basename(deb);
    const attestation = (name: string): string => `${folder}/out-${name}/${attestationName(`${folder}/out-${name}`)}`;
    for (const name of BUILDERS) lockstep(['quorum', 'commit', attestation(name), ...trust, ...log], 0, keyOf(name));
    for (const name of BUILDERS) lockstep(['quorum', 'reveal', attestation(name), ...trust, ...log], 0, keyOf(name));

    heading('10. The quorum, logged');
    lockstep(['quorum', 'decide', project, ...trust, ...log]);

    heading('11. An observer, without an account: a mirror, the same decision to the letter, and the file verified by the policy');
    lockstep(['log', 'mirror', `${folder}/log/public`, `${folder}/mirror`, '--key', logKey]);
    lockstep(['quorum', 'audit', ...trust, '--log', `${folder}/mirror`]);
    const verify = ['verify', `${folder}/out-anna/${attested}`, ...trust, '--log', `${folder}/mirror`];
    lockstep(verify);

    heading('12. One builder lies: other bytes under its own signature. Two of three still agree, and it is held all the same');
    lie(tools, attestation('cem'), attested);
    quietly(['quorum', 'open', project, ...trust, ...log]);
    const liar = `${folder}/out-liar/${attestationName(`${folder}/out-cem`)}`;
    for (const step of ['commit', 'reveal'])
      for (const name of BUILDERS) quietly(['quorum', step, name === 'cem' ? liar : attestation(name), ...trust, ...log], keyOf(name));
    lockstep(['quorum', 'decide', project, ...trust, ...log], 4);
    lockstep(['compare', attestation('anna'), liar, '--no-build'], 4);
    lockstep(['log', 'mirror', `${folder}/log/public`, `${folder}/mirror`, '--key', logKey]);
    lockstep(verify, 6);
  } finally {
    witness.kill('SIGTERM');
  }
}

function attestationName(folder: string): string {
  const name = readdirSync(folder).find((one) => one.endsWith('.intoto.json'));
  if (name === undefined) throw new Error(`no attestation in ${folder}`);
  return name;
}

/** The draft, with three builders whose domains are declared on this one machine, and so are called simulated. */
function writePolicy({ folder, quietly }: DemoTools, logKey: string, witnessKeys: readonly string[]): void {
  const file = `${folder}/trust/policy.json`;
  const draft = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  mkdirSync(`${folder}/keys`, { recursive: true });
  const builders = BUILDERS.map((name) => ({
    name,
    key: quietly(['key', 'make', `${folder}/keys/${name}.pem`]),
    domain: { operator: `Organisation of ${name}`, site: `site of ${name}`, lineage: 'debian runc', simulated: true },
  }));
  const policy = {
    ...draft,
    builders,
    logs: [{ key: logKey, operator: 'Organisation of anna', site: 'site of anna', simulated: true }],
    witnesses: [{ name: 'w1', keys: witnessKeys, operator: 'Organisation of the witness', site: 'elsewhere', simulated: true }],
    witness_quorum: 'w1',
    rules: [{ packages: 'cjson', tier: 'container', quorum: 2, variations: ['clock', 'directory-order'], sources: ['pkg:deb/*'] }],
  };
  writeFileSync(file, JSON.stringify(policy, null, 2));
}

/** What a compromised builder would do: another file, and a well-formed statement about it. */
function lie({ folder }: DemoTools, attestation: string, deb: string): void {
  mkdirSync(`${folder}/out-liar`);
  copyFileSync(`${folder}/out-cem/${deb}`, `${folder}/out-liar/${deb}`);
  appendFileSync(`${folder}/out-liar/${deb}`, 'a back door');
  const envelope = parseEnvelope(readFileSync(attestation));
  const statement = JSON.parse(Buffer.from(envelope.payload).toString()) as { subject: { name: string; digest: unknown }[] };
  for (const subject of statement.subject) if (subject.name === deb) subject.digest = digestFile(`${folder}/out-liar/${deb}`).digest;
  const payload = canonicalBytes(statement as unknown as Json);
  const key = createPrivateKey(readFileSync(`${folder}/keys/cem.pem`));
  const signatures = [{ keyid: envelope.signatures[0]?.keyid ?? '', sig: sign('sha256', pae(envelope.payloadType, payload), key) }];
  writeFileSync(`${folder}/out-liar/${basename(attestation)}`, formatEnvelope({ payloadType: envelope.payloadType, payload, signatures }));
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

async function answers(url: string, witness: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 100 && witness.exitCode === null; attempt++) {
    try {
      await (await fetch(`${url}/`)).arrayBuffer();
      return;
    } catch {
      // Not listening yet.
      await delay(100);
    }
  }
  throw new Error('the witness does not answer');
}
