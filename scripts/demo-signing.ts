/**
 * The signing nodes of the demo: one without a network, behind a serial line (here a pair of pseudo-terminals), whose key
 * is made when it starts and is in its memory only; and three holders of a threshold key, made together, of whom two sign.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { DemoTools } from './demo-tools.ts';

export interface DemoSigners {
  /** What `release approve` is told. */
  readonly nodes: readonly string[];
  readonly airGapped: string;
  stop(): Promise<void>;
}

/** Makes them, and a policy that asks for both. */
export async function startSigners(tools: DemoTools, farm: string): Promise<DemoSigners> {
  const { folder, lockstep } = tools;
  const root = `${farm}/policy/repository/metadata/1.root.json`;
  const children: ChildProcess[] = [];
  const stop = async (): Promise<void> => {
    for (const child of children.toReversed()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await Promise.race([ended, pause(5000)]);
    }
  };
  try {
    const lines = [`${folder}/tty-farm`, `${folder}/tty-node`] as const;
    children.push(
      spawn(
        'socat',
        lines.map((path) => `pty,raw,echo=0,link=${path}`),
        { stdio: 'ignore' },
      ),
    );
    await until(() => lines.every((path) => existsSync(path)), 'socat makes a pair of terminals');

    lockstep(['signer', 'init', `${folder}/air`, '--name', 'air-gapped', '--root', root]);
    const air = runNode(tools, children, [
      'signer',
      'run',
      `${folder}/air`,
      '--serial',
      lines[1],
      '--memory-key',
      'air=release-dsse',
      '--json',
    ]);
    const { keys } = JSON.parse(await air) as { keys: { pem: string }[] };

    writeFileSync(`${folder}/requester.pem`, (JSON.parse(lockstep(['key', '--json'])) as { pem: string }).pem);
    const holders = ['ada', 'ben', 'cem'];
    for (const name of holders)
      lockstep(['signer', 'init', `${folder}/${name}`, '--name', name, '--root', root, '--coordinator', `${folder}/requester.pem`]);
    const cards = (via: boolean): string[] =>
      holders.flatMap((name) => ['--holder', `${folder}/${name}/card.json${via ? `@folder:${folder}/line-${name}` : ''}`]);
    const at = ['--at', `${folder}/ceremony`];
    lockstep(['key', 'threshold', 'board', '--use', 'release-dsse', '--threshold', '2', ...at, ...cards(false)]);
    await Promise.all(
      holders.map((name) =>
        runNode(tools, children, [
          'signer',
          'join-ceremony',
          `${folder}/${name}`,
          ...at,
          '--initiator',
          `${folder}/requester.pem`,
          '--no-passphrase',
        ]),
      ),
    );
    const group = JSON.parse(lockstep(['key', 'group', ...at, ...cards(true), '--out', `${folder}/board.json`, '--json'])) as {
      pem: string;
    };
    for (const name of holders.slice(0, 2))
      await runNode(tools, children, ['signer', 'run', `${folder}/${name}`, '--folder', `${folder}/line-${name}`]);

    const policy = JSON.parse(readFileSync(`${farm}/policy/policy.json`, 'utf8')) as Record<string, unknown>;
    const release = {
      threshold: 2,
      keys: [
        { name: 'air-gapped', key: keys[0]?.pem },
        { name: 'board', key: group.pem },
      ],
    };
    writeFileSync(`${farm}/policy/policy.json`, `${JSON.stringify({ ...policy, version: 2, release }, null, 2)}\n`);
    lockstep(['policy', 'sign', `${farm}/policy`]);
    const airGapped = `${folder}/air/card.json@serial:${lines[0]}`;
    return { nodes: ['--node', airGapped, '--node', `${folder}/board.json`], airGapped, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** @returns the first line that it prints */
function runNode({ cli, store }: DemoTools, children: ChildProcess[], args: readonly string[]): Promise<string> {
  const child = spawn(process.execPath, [cli, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, CI: 'true', LOCKSTEP_HOME: store },
  });
  children.push(child);
  let said = '';
  child.stderr.on('data', (bytes: Buffer) => (said = (said + bytes.toString()).slice(-4000)));
  return new Promise((resolve, reject) => {
    child.stdout.once('data', (bytes: Buffer) => resolve(bytes.toString()));
    child.once('exit', (status) => reject(new Error(`lockstep ${args.join(' ')} ended with status ${status}: ${said}`)));
  });
}

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let tries = 0; !holds(); tries++) {
    if (tries > 100) throw new Error(`waited in vain until ${what}`);
    await pause(50);
  }
}

/** A request in which a builder’s statement names another file: as whoever holds the farm would write it. */
export function forge(request: string, forged: string): void {
  const json = JSON.parse(readFileSync(request, 'utf8')) as { bundles: string[] };
  json.bundles = json.bundles.map((text) => {
    const bundle = JSON.parse(text) as { dsseEnvelope: { payload: string } };
    const payload = Buffer.from(bundle.dsseEnvelope.payload, 'base64').toString();
    const evil = createHash('sha256').update('something else').digest('hex');
    const changed = payload.replace(/("digest":\{"blake2b512":"[0-9a-f]{128}","sha256":")[0-9a-f]{64}/, `$1${evil}`);
    return changed === payload ? text : text.replace(bundle.dsseEnvelope.payload, Buffer.from(changed).toString('base64'));
  });
  writeFileSync(forged, JSON.stringify(json));
}
