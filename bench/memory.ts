/** Peak resident memory of processes that are still running, as the kernel counts it (VmHWM in /proc/PID/status). */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { BenchError, type Command } from './measure.ts';

const EVERY_MS = 20;

/** Each name is the first of `roles` that fits the command line, or null to leave a process out. @returns bytes by role */
export async function peaks(command: Command, roleOf: (commandLine: string) => string | null): Promise<Map<string, number>> {
  const [program = '', ...args] = command.argv;
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...command.env } });
  const peak = new Map<string, number>();
  const look = (): void => {
    for (const pid of descendants(child.pid ?? 0)) {
      const role = roleOf(read(`/proc/${pid}/cmdline`).replaceAll('\0', ' '));
      const kilobytes = Number(/^VmHWM:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`))?.[1] ?? '0');
      if (role !== null) peak.set(role, Math.max(peak.get(role) ?? 0, kilobytes * 1024));
    }
  };
  const timer = setInterval(look, EVERY_MS);
  let said = '';
  child.stderr.on('data', (bytes: Buffer) => {
    said = (said + bytes.toString('utf8')).slice(-2000);
  });
  try {
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    if (status !== 0) throw new BenchError(`status ${status}: ${command.argv.join(' ')}\n${said.trim()}`);
  } finally {
    clearInterval(timer);
  }
  return peak;
}

function descendants(root: number): number[] {
  const parents = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const parent = Number(/^PPid:\s+(\d+)$/m.exec(read(`/proc/${name}/status`))?.[1] ?? '-1');
    parents.set(parent, [...(parents.get(parent) ?? []), Number(name)]);
  }
  const found = [root];
  for (let at = 0; at < found.length; at++) found.push(...(parents.get(found[at] ?? -1) ?? []));
  return found;
}

/** '' once the process is gone. */
function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
