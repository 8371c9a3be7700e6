/** Runs the real program in projects made for one test. The store is the test run's own (LOCKSTEP_HOME). */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { after } from 'node:test';

export const ROOT = `${import.meta.dirname}/..`;
export const CLI = `${ROOT}/packages/cli/src/main.ts`;
export const SILO = `${ROOT}/packages/silo/bin/lockstep-silo`;

const made: string[] = [];
after(() => {
  for (const path of made) rmSync(path, { recursive: true, force: true });
});

export function temporaryFolder(): string {
  const path = mkdtempSync(`${tmpdir()}/lockstep-e2e-`);
  made.push(path);
  return path;
}

export interface Ran {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function lockstep(
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>>; readonly timeout?: number } = {},
): Ran {
  const run = spawnSync(process.execPath, [CLI, ...args], {
    cwd: options.cwd ?? ROOT,
    encoding: 'utf8',
    maxBuffer: 256 << 20,
    timeout: options.timeout ?? 300_000,
    env: { ...process.env, ...options.env },
  });
  return { status: run.status, signal: run.signal, stdout: run.stdout, stderr: run.stderr };
}

/** The same without blocking this process: for tests that serve something to it, or kill it. */
export function startLockstep(
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): { child: ReturnType<typeof spawn>; done: Promise<Ran> } {
  const child = spawn(process.execPath, [CLI, ...args], {
    cwd: options.cwd ?? ROOT,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (bytes: Buffer) => out.push(bytes));
  child.stderr.on('data', (bytes: Buffer) => err.push(bytes));
  const done = new Promise<Ran>((resolve) => {
    child.once('close', (status, signal) =>
      resolve({ status, signal, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }),
    );
  });
  return { child, done };
}

export interface ProjectParts {
  readonly steps?: readonly string[];
  readonly outputs?: string;
  readonly environment?: string;
  readonly source?: string;
  readonly resources?: string;
  readonly build?: string;
  readonly inputs?: string;
  readonly files?: Readonly<Record<string, string>>;
}

/** A project whose environment is this machine, unless said otherwise. */
export function project(parts: ProjectParts): string {
  const folder = temporaryFolder();
  for (const [name, content] of Object.entries(parts.files ?? {})) {
    mkdirSync(dirname(`${folder}/${name}`), { recursive: true });
    writeFileSync(`${folder}/${name}`, content);
  }
  writeFileSync(`${folder}/lockstep.toml`, manifest(parts));
  return folder;
}

export function manifest(parts: ProjectParts): string {
  return [
    'name = "case"',
    'version = "1"',
    '[source]',
    parts.source ?? 'ref = "."',
    '[environment]',
    parts.environment ?? 'kind = "host"',
    '[build]',
    `steps = ${JSON.stringify(parts.steps ?? ['echo hello > out'])}`,
    parts.build ?? '',
    parts.inputs ?? '',
    parts.outputs ?? '[[outputs]]\nfiles = "out"',
    `[resources]\n${parts.resources ?? 'memory_mb = 256\nscratch_mb = 256\ntimeout = 60'}`,
  ].join('\n');
}

/** Lock and build; the lock has to succeed. */
export function build(folder: string, args: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Ran {
  const locked = lockstep(['lock', folder, '-q'], { env });
  if (locked.status !== 0) return locked;
  return lockstep(['build', folder, '-q', ...args], { env });
}

/** What a run may not leave behind on the host. */
export function leftovers(): string[] {
  const run = spawnSync(
    '/bin/sh',
    [
      '-c',
      "grep -E '/run/lockstep|lockstep.*disk.img' /proc/mounts; losetup -a | grep -E 'lockstep|disk.img|ext4'; find /sys/fs/cgroup -path '*lockstep/*' -name cgroup.procs -exec cat {} + 2>/dev/null",
    ],
    { encoding: 'utf8' },
  );
  return run.stdout.split('\n').filter((line) => line.trim() !== '');
}

export interface ErrorData {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  readonly cause: string | null;
  readonly at: { readonly file: string; readonly line: number; readonly column: number } | null;
}

/** The error that `--json` printed. */
export function errorOf(stdout: string): ErrorData {
  return (JSON.parse(stdout) as { error: ErrorData }).error;
}
