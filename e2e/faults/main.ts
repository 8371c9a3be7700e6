/** `npm run farm-faults`: every fault that a farm has to live with, one case after the other. usage: main.ts [PART OF A NAME …] */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { CLOCK_FAULTS } from './clock-faults.ts';
import { COMPLETION_FAULTS } from './completion-faults.ts';
import { killInTurn } from './kill.ts';
import { makeReport } from './report.ts';
import { networkNames, NETWORK_FAULTS } from './network-faults.ts';
import { REPLICA_FAULTS } from './replica-faults.ts';
import { ROLE_FAULTS } from './role-faults.ts';
import { STORAGE_FAULTS } from './storage-faults.ts';
import { KILL_CASES, nameOf } from './steps.ts';

const KILL_LANES = 3;

const only = process.argv.slice(2);
const isWanted = (name: string): boolean => only.length === 0 || only.some((part) => name.includes(part));
const report = makeReport((line) => void process.stdout.write(`${line}\n`));
const root = mkdtempSync(`${tmpdir()}/lockstep-faults-`);
const began = performance.now();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => {
    leaveNothing();
    process.exit(130);
  });

const queue = KILL_CASES.filter((one) => isWanted(nameOf(one)));
const all = [...ROLE_FAULTS, ...STORAGE_FAULTS, ...CLOCK_FAULTS, ...COMPLETION_FAULTS, ...NETWORK_FAULTS, ...REPLICA_FAULTS];
const scenarios = all.filter((one) => isWanted(one.name));
const runScenarios = async (): Promise<void> => {
  for (const [at, one] of scenarios.entries()) {
    const folder = `${root}/scenario-${at}`;
    await report.run(
      one.name,
      one.known ?? null,
      () => one.run(folder),
      () => folder,
    );
  }
};
// Beside each other: most of a case is waiting.
await Promise.all([...Array.from({ length: KILL_LANES }, (_, at) => killInTurn(`${root}/kill-${at}`, queue, report)), runScenarios()]);

const good = report.end();
process.stdout.write(`after ${((performance.now() - began) / 1000).toFixed(0)} s\n`);
if (good) rmSync(root, { recursive: true, force: true });
else process.stdout.write(`the folders are kept in ${root}\n`);
process.exitCode = good ? 0 : 1;

/** What ends with no process: mounts, and network namespaces. */
function leaveNothing(): void {
  const mounts = readFileSync('/proc/mounts', 'utf8').split('\n');
  for (const line of mounts) {
    const [, at = ''] = line.split(' ');
    if (at.startsWith(`${root}/`)) spawnSync('umount', ['-l', at]);
  }
  for (const name of networkNames()) spawnSync('ip', ['netns', 'del', name]);
}
