/**
 * `npm test`: house rules, then unit tests, then the real binaries. Prints what it is doing; stops at the first stage that
 * fails. What takes minutes (`*.long.test.ts`) is behind `npm run long`.
 */
import { spawnSync } from 'node:child_process';
import { globSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';

const root = `${import.meta.dirname}/..`;
const home = mkdtempSync(`${tmpdir()}/lockstep-test-`);
const bin = `${root}/node_modules/.bin`;

interface Stage {
  readonly title: string;
  readonly command: readonly string[];
}

const LONG = '.long.test.ts';
const [first = ''] = process.argv.slice(2);
const isLong = first === 'long';
const only = process.argv.slice(isLong ? 3 : 2);
const files = (pattern: string): string[] =>
  globSync(pattern, { cwd: root })
    .filter((file) => file.endsWith(LONG) === isLong)
    .sort();
const test = (title: string, patterns: readonly string[], concurrency: number): Stage => ({
  title,
  command: [process.execPath, '--test', `--test-concurrency=${concurrency}`, '--test-reporter=spec', ...patterns.flatMap(files)],
});

const long: Stage[] = [test('what takes minutes', ['packages/*/src/**/*.test.ts', 'e2e/*.test.ts'], 1)];
const short: Stage[] = [
  { title: 'format', command: [`${bin}/biome`, 'format', '.'] },
  { title: 'types', command: [`${bin}/tsc`] },
  { title: 'types of protocol, without Node', command: [`${bin}/tsc`, '-p', 'packages/protocol/tsconfig.json'] },
  { title: 'lint', command: [`${bin}/oxlint`, '--type-aware', '--deny-warnings', 'packages', 'scripts', 'bench', 'e2e'] },
  { title: 'unused code', command: [`${bin}/knip`] },
  test('unit tests', ['packages/*/src/**/*.test.ts', 'scripts/*.test.ts'], 2),
  // One file at a time: they measure limits, and share the machine's two cores.
  test('the real binaries', ['e2e/*.test.ts'], 1),
];

let failed = false;
const start = performance.now();
for (const stage of isLong ? long : short) {
  if (only.length > 0 && !only.some((word) => stage.title.includes(word))) continue;
  const since = performance.now();
  process.stdout.write(`\n== ${stage.title}\n`);
  const [program = '', ...args] = stage.command;
  const run = spawnSync(program, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, LOCKSTEP_HOME: home, PATH: `${bin}:${process.env['PATH'] ?? ''}` },
  });
  const seconds = ((performance.now() - since) / 1000).toFixed(1);
  process.stdout.write(`== ${stage.title}: ${run.status === 0 ? 'ok' : `FAILED (status ${run.status ?? run.signal})`} in ${seconds} s\n`);
  if (run.status !== 0) {
    failed = true;
    break;
  }
}
rmSync(home, { recursive: true, force: true });
process.stdout.write(`\n${failed ? 'FAILED' : 'all green'} after ${((performance.now() - start) / 1000).toFixed(0)} s\n`);
process.exitCode = failed ? 1 : 0;
