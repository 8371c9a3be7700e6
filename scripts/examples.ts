/** `npm run examples`: every example as it stands, each with what it is there to show. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';

const ROOT = `${import.meta.dirname}/..`;
const CLI = `${ROOT}/packages/cli/src/main.ts`;

interface Outcome {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
  readonly seconds: number;
}

function lockstep(args: readonly string[], wrapper: readonly string[] = []): { status: number | null; stdout: string } {
  const [program = '', ...rest] = [...wrapper, process.execPath, CLI, ...args];
  process.stderr.write(`$ lockstep ${args.join(' ')}\n`);
  const run = spawnSync(program, rest, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 64 << 20 });
  return { status: run.status, stdout: run.stdout };
}

const attestation = (name: string): string =>
  `examples/${name}/lockstep-out/${readdirSync(`${ROOT}/examples/${name}/lockstep-out`).find((file) => file.endsWith('.intoto.json'))}`;

/** @returns what was seen, or throws with what was not */
const EXAMPLES: Readonly<Record<string, () => string>> = {
  make: () => {
    built('make');
    expect(lockstep(['build', 'examples/make', '--vary']), 0, /^Equal bytes/m);
    return 'equal under every variation';
  },
  cmake: () => {
    built('cmake');
    expect(lockstep(['rebuild', attestation('cmake')]), 0, /^reproduced shapes-1\.0\.tar/m);
    return 'reproduced from its attestation';
  },
  'npm-package': () => {
    built('npm-package');
    expect(lockstep(['build', 'examples/npm-package', '--fresh', '--offline']), 0, /semver-7\.7\.2\.tar/);
    return 'built again from the content store';
  },
  frozen: () => {
    expect(lockstep(['build', 'examples/frozen', '--fresh']), 0, /SHA256SUMS/);
    // A network namespace of its own: not even loopback is up.
    expect(lockstep(['build', 'examples/frozen', '--fresh', '--offline'], ['unshare', '--net', '--']), 0, /SHA256SUMS/);
    return 'rebuilt from its own lock with the network cut';
  },
  cjson: () => {
    built('cjson');
    const run = expect(lockstep(['rebuild', attestation('cjson'), '--against', 'pkg:deb/debian']), 0, /^equal +libcjson1_/m);
    return `${[...run.matchAll(/^equal /gm)].length} packages equal to what Debian ships`;
  },
  hello: () => {
    built('hello');
    expect(lockstep(['build', 'examples/hello', '--vary', '--only', 'clock,hostname']), 4, /^\* date and time/m);
    return 'the clock leak is named';
  },
  'signing-file': () => approved('signing-file', 'hello (1 of 1 needed)'),
  'signing-pkcs11': () => approved('signing-pkcs11', 'hello (1 of 1 needed)'),
  'signing-threshold': () => approved('signing-threshold', 'hello (1 of 1 needed)'),
  'signing-serial': () => approved('signing-serial', 'hello (1 of 1 needed)'),
  'signing-by-hand': () => approved('signing-by-hand', 'hello (1 of 1 needed)'),
};

/** The example is a script of its own, and ends with a verdict. */
function approved(name: string, by: string): string {
  const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}` };
  const run = spawnSync('sh', [`examples/${name}/run.sh`], { cwd: ROOT, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  const said = expect(run, 0, /^VERIFIED out-anna\/hello\.txt$/m);
  if (!said.includes(`✔ approval         pass: ${by}`)) throw new Error(`did not say that it was approved by ${by}`);
  return `approved by ${by}`;
}

function built(name: string): void {
  expect(lockstep(['lock', `examples/${name}`]), 0, /./);
  expect(lockstep(['build', `examples/${name}`]), 0, /^build id/m);
}

function expect(run: { status: number | null; stdout: string }, status: number, says: RegExp): string {
  process.stdout.write(run.stdout);
  if (run.status !== status) throw new Error(`status ${run.status}, expected ${status}`);
  if (!says.test(run.stdout)) throw new Error(`did not say ${says}`);
  return run.stdout;
}

const wanted = process.argv.slice(2);
const outcomes: Outcome[] = [];
for (const [name, show] of Object.entries(EXAMPLES)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  process.stdout.write(`\n== ${name}\n`);
  const since = performance.now();
  const outcome = (ok: boolean, detail: string): Outcome => ({ name, ok, detail, seconds: Math.round((performance.now() - since) / 1000) });
  try {
    const detail = show();
    outcomes.push(outcome(true, detail));
  } catch (error) {
    outcomes.push(outcome(false, error instanceof Error ? error.message : String(error)));
  }
}
process.stdout.write(
  `\n${outcomes.map((one) => `${one.ok ? 'ok  ' : 'FAIL'} ${one.name.padEnd(17)} ${String(one.seconds).padStart(4)} s  ${one.detail}`).join('\n')}\n`,
);
process.exitCode = outcomes.every((one) => one.ok) ? 0 : 1;
