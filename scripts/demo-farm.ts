/**
 * The second half of the demo: a farm on this machine, with two builders in failure domains of their own, a witnessed log
 * and a quorum. A definition is submitted, built twice under different conditions, committed, revealed agreed on, and approved by
 * signing nodes; an observer decides the same from a mirror. Then a build that depends on the year, which the farm holds.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { DemoTools } from './demo-tools.ts';
import { forge, startSigners } from './demo-signing.ts';

/** @param deb name of an output that is looked at */
export async function farmDemo(tools: DemoTools, project: string, deb: string): Promise<void> {
  const { folder, lockstep, heading } = tools;
  const farm = `${folder}/farm`;

  heading('8. A farm in one process: API, log, witness and two builders; both have to agree');
  lockstep(['farm', 'init', farm, '--name', 'demo', '--listen', `127.0.0.1:${await freePort()}`]);
  const config = readFileSync(`${farm}/farm.toml`, 'utf8');
  // Only for the demo: its builders find in the demo's own store what was fetched and prepared above.
  writeFileSync(`${farm}/farm.toml`, config.replace('storage = "storage"', `storage = "storage"\nbuilders_store = "${tools.store}"`));
  heading('9. Signing nodes: one without a network behind a serial line, and a key of which two of three holders have to sign');
  const signers = await startSigners(tools, farm);
  const process_ = await startFarm(tools, farm);
  try {
    const at = ['--farm', farm];
    heading('10. Submitted: each builder is dealt other conditions, builds, and commits before anybody reveals');
    const out = `${folder}/agreed`;
    const job = buildIdOf(lockstep(['submit', project, '--out', out, '--json', ...at]));
    lockstep(['farm', 'why', job.slice(0, 12), ...at]);

    heading('11. Submitted again: the quorum has decided, so it is answered at once');
    lockstep(['submit', project, ...at, '-q']);

    heading('12. Each signing node gets the evidence, checks it all again, and signs; builders alone release nothing');
    lockstep(['release', 'approve', job.slice(0, 12), '--out', out, ...signers.nodes, ...at]);

    heading('13. Forged evidence, as whoever held the farm could write it: refused');
    lockstep(['release', 'request', job.slice(0, 12), '--node', signers.airGapped, '--out', `${folder}/request.json`, ...at]);
    forge(`${folder}/request.json`, `${folder}/forged.json`);
    lockstep(['release', 'ask', `${folder}/forged.json`, '--node', signers.airGapped, '--out', `${folder}/answer.json`, '-q'], 5);

    heading('14. An observer, without an account: a mirror of the log, the same decision to the letter, the file verified by the policy');
    const trust = ['--policy', `${farm}/policy`, '--root', `${farm}/policy/repository/metadata/1.root.json`];
    lockstep(['log', 'mirror', `${farm}/log/public`, `${folder}/mirror`, '--key', logKey(tools, farm)]);
    lockstep(['quorum', 'audit', ...trust, '--log', `${folder}/mirror`]);
    lockstep(['verify', `${out}/${deb}`, ...trust, '--log', `${folder}/mirror`]);

    heading('15. A build that writes the year into its output: the builders disagree, and the farm holds it');
    yearProject(`${folder}/year`);
    lockstep(['lock', `${folder}/year`, '-q']);
    lockstep(['submit', `${folder}/year`, ...at, '-q'], 4);
    lockstep(['farm', 'status', ...at]);
  } finally {
    await stop(process_);
    await signers.stop();
  }
}

function buildIdOf(json: string): string {
  const { job } = JSON.parse(json) as { job: string };
  return job;
}

function logKey({ lockstep }: DemoTools, farm: string): string {
  const { log } = JSON.parse(lockstep(['farm', 'status', '--farm', farm, '--json'])) as { log: { key: string } };
  return log.key;
}

/** Pinned, and small: a shell and `date`, packed from this machine. */
function yearProject(path: string): void {
  mkdirSync(`${path}/source`, { recursive: true });
  writeFileSync(`${path}/source/README`, 'nothing\n');
  const pack = `cd ${path}; mkdir -p r/bin r/etc; cp /bin/sh /bin/date r/bin/; for f in $(ldd /bin/sh /bin/date | grep -o '/[^ ]*' | grep '^/lib' | sort -u); do mkdir -p r$(dirname $f); cp -L $f r$f; done; tar -C r -cJf rootfs.tar.xz .; rm -r r`;
  execFileSync('/bin/sh', ['-ec', pack]);
  const sha256 = execFileSync('sha256sum', [`${path}/rootfs.tar.xz`], { encoding: 'utf8' }).slice(0, 64);
  writeFileSync(
    `${path}/lockstep.toml`,
    [
      'name = "year"',
      'version = "1"',
      '[source]',
      'ref = "source"',
      '[environment]',
      'kind = "rootfs"',
      `url = "${path}/rootfs.tar.xz"`,
      `sha256 = "${sha256}"`,
      '[build]',
      'steps = ["date +%Y > version.txt"]',
      '[[outputs]]',
      'files = "version.txt"',
      '',
    ].join('\n'),
  );
}

/** Resolves when it serves. */
function startFarm({ cli, store }: DemoTools, farm: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [cli, 'farm', 'run', farm], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, CI: 'true', LOCKSTEP_HOME: store },
  });
  let said = '';
  child.stderr.on('data', (bytes: Buffer) => (said = (said + bytes.toString()).slice(-4000)));
  return new Promise((resolve, reject) => {
    child.stdout.once('data', () => resolve(child));
    child.once('exit', (status) => reject(new Error(`the farm ended with status ${status}: ${said}`)));
  });
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.removeAllListeners('exit');
  child.once('exit', () => undefined);
  child.kill('SIGTERM');
  await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 10_000))]);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
