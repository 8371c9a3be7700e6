/**
 * `npm run demo`: a real package's source from this machine's own archive, built sealed, built again under other
 * conditions, compared with what the archive ships, attested and verified; a tampered file refused; then a farm with two
 * builders, a witnessed log and a quorum (demo-farm.ts).
 */
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename } from 'node:path';
import { defaultStorePath } from '@lockstep/store/store';
import { farmDemo } from './demo-farm.ts';

const root = `${import.meta.dirname}/..`;
const cli = `${root}/packages/cli/src/main.ts`;
const folder = mkdtempSync(`${tmpdir()}/lockstep-demo-`);
const started = performance.now();

function heading(text: string): void {
  process.stdout.write(`\n\u2500\u2500 ${text}\n`);
}

/** A verifier key of ML-DSA-44 fills a screen. */
function shown(text: string): string {
  return text.replaceAll(folder, '.').replaceAll(/[A-Za-z0-9+/]{200,}/g, (long) => `${long.slice(0, 20)}…`);
}

/** Runs lockstep as a user would, and shows the command. */
function lockstep(args: readonly string[], expected = 0, env: Readonly<Record<string, string>> = {}): string {
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value} `);
  process.stdout.write(shown(`$ ${variables.join('')}lockstep ${args.join(' ')}\n`));
  const run = spawnSync(process.execPath, [cli, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    env: { ...process.env, ...env },
  });
  if (run.status !== expected) {
    process.stdout.write(`\nthe demo stops: lockstep ${args.join(' ')}: status ${run.status}, expected ${expected}\n${run.stdout}`);
    throw new DemoFailed();
  }
  process.stdout.write(shown(args.includes('--json') ? `${run.stdout.slice(0, 120)}…\n` : run.stdout));
  return run.stdout;
}

class DemoFailed extends Error {}

/** The distribution of this machine: its own archive is what the demo rebuilds from and compares with. */
function distribution(): string {
  return /^ID=["']?([a-z]+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'debian';
}

/** In the environment of this machine, which is quick to try things out in, and never for a release. */
function leakyProject(path: string): void {
  mkdirSync(path);
  writeFileSync(
    `${path}/lockstep.toml`,
    [
      'name = "leaky"',
      'version = "1"',
      '[source]',
      'ref = "."',
      '[environment]',
      'kind = "host"',
      '[build]',
      'steps = ["date +%Y > version.txt"]',
      '[[outputs]]',
      'files = "version.txt"',
      '',
    ].join('\n'),
  );
}

async function demo(): Promise<void> {
  const project = `${folder}/cjson`;
  heading('1. A manifest for a real package: cJSON, from the source package of the archive');
  lockstep(['init', `pkg:deb/${distribution()}/cjson`, '--out', project]);
  process.stdout.write(readFileSync(`${project}/lockstep.toml`, 'utf8'));

  heading('2. Every input pinned by digest');
  lockstep(['lock', project]);

  heading('3. One sealed build: no network, no host files, everything that differs from machine to machine fixed');
  lockstep(['build', project]);

  heading('4. Another project that writes the year into its output: varied in sixteen ways, and the cause is named');
  leakyProject(`${folder}/leaky`);
  lockstep(['lock', `${folder}/leaky`, '-q']);
  lockstep(['build', `${folder}/leaky`, '--vary', '-q'], 4);

  heading('5. Rebuilt from the attestation alone, and compared bit by bit with what the archive ships');
  const out = `${project}/lockstep-out`;
  const attestation = readdirSync(out).find((name) => name.endsWith('.intoto.json'));
  const rebuilt = lockstep(['rebuild', `${out}/${attestation}`, '--against', `pkg:deb/${distribution()}`]);

  heading('6. Verified: by the public key alone, offline');
  const key = spawnSync(process.execPath, [cli, 'key'], { encoding: 'utf8' }).stdout;
  writeFileSync(`${folder}/builder.pem`, key);
  const debs = readdirSync(out).filter((name) => /^libcjson1_.*\.deb$/.test(name));
  const deb = `${out}/${debs[0]}`;
  if (!existsSync(deb)) throw new DemoFailed();
  lockstep(['verify', deb, '--key', `${folder}/builder.pem`, '--source', sourceRef(`${project}/lockstep.lock`)]);

  heading('7. One byte appended: refused');
  copyFileSync(deb, `${out}/tampered.deb`);
  appendFileSync(`${out}/tampered.deb`, '!');
  lockstep(['verify', `${out}/tampered.deb`, '--key', `${folder}/builder.pem`], 6);

  await farmDemo({ cli, folder, store: defaultStorePath(process.env), lockstep, heading }, project, basename(deb));

  const equal = [...rebuilt.matchAll(/^equal +(\S+)/gm)].map((match) => match[1]);
  if (equal.length === 0) throw new DemoFailed();
  heading(`Done in ${((performance.now() - started) / 1000).toFixed(0)} s`);
  process.stdout.write(
    `The rebuilt .deb files equal what the archive ships, bit by bit: ${equal.join(', ')}\nVERIFIED: source, recipe, environment and builder of each are attested; two builders of a farm agreed in a witnessed log; an air-gapped node and two of three holders approved it; and what they did not agree on was held.\n`,
  );
}

function sourceRef(lock: string): string {
  return (JSON.parse(readFileSync(lock, 'utf8')) as { source: { ref: string } }).source.ref;
}

try {
  await demo();
} catch (error) {
  if (!(error instanceof DemoFailed)) throw error;
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
