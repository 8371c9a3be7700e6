/** What is written to a secret scratch cannot be found in what lies under it, and nothing of it outlives its owner. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { openStore } from '@lockstep/store/store';
import type { Context, Settings } from '../context.ts';
import { type HostFacts, readHostFacts, refusalOf } from './host-support.ts';
import { SECRET_KINDS, type ScratchKind } from './scratch-kind.ts';
import { openScratch as open, type Scratch } from './scratch-volume.ts';

const folder = realpathSync(mkdtempSync(`${tmpdir()}/scratch, volume-`));
const opened: Scratch[] = [];
after(async () => {
  // Those of tests that failed: their supervisors would keep this process waiting.
  await Promise.all(opened.map((scratch) => scratch.destroy()));
  rmSync(folder, { recursive: true, force: true });
});
const root = `${folder}/store`;
const SIZE_MB = 64;
const HOST = readHostFacts();
/** The test list of scripts/setup.sh makes qemu-luks work wherever there is FUSE; luks is up to the kernel. */
const HERE = SECRET_KINDS.filter((kind) => refusalOf(kind, SIZE_MB, HOST) === null);

async function openScratch(...args: Parameters<typeof open>): Promise<Scratch> {
  const scratch = await open(...args);
  opened.push(scratch);
  return scratch;
}

function contextFor(scratch: ScratchKind, cancelled = new AbortController().signal): Context {
  const item = { update() {}, output() {}, done() {}, failed() {} };
  return {
    store: openStore(root),
    settings: { scratch } as Settings,
    progress: { start: () => item, note() {}, warn() {}, tail() {} },
    now: () => 0,
    cancelled,
  };
}

/** 4 MiB of one random line, on the disk, whatever that is. */
function plantCanary(scratch: string): Buffer {
  const line = Buffer.from(randomBytes(64).toString('hex'));
  const fd = openSync(`${scratch}/inputs/canary`, 'w');
  writeSync(fd, Buffer.alloc(4 << 20, line));
  fsyncSync(fd);
  closeSync(fd);
  return line;
}

function contains(path: string, wanted: Buffer): boolean {
  const fd = openSync(path, 'r');
  try {
    const piece = Buffer.alloc((1 << 20) + wanted.length);
    for (let at = 0; ; at += 1 << 20) {
      const length = readSync(fd, piece, 0, piece.length, at);
      if (length === 0) return false;
      if (piece.subarray(0, length).includes(wanted)) return true;
    }
  } finally {
    closeSync(fd);
  }
}

const processes = (): string[] => readdirSync('/proc').filter((name) => /^\d+$/.test(name));

/** In /proc, a space is written as its octal number. */
const isOurs = (mounts: string): boolean => mounts.includes('scratch,\\040volume');
const isDaemon = (pid: string): boolean =>
  ofProcess(() => [readFileSync(`/proc/${pid}/comm`, 'utf8')]).some((name) => name.startsWith('qemu'));

/** Runs it on a process that may end meanwhile. */
function ofProcess<T>(read: () => T[]): T[] {
  try {
    return read();
  } catch {
    return [];
  }
}

/** Files without a name that a process still holds: /proc paths that open them. */
function unlinkedFiles(): string[] {
  return processes().flatMap((pid) =>
    ofProcess(() => readdirSync(`/proc/${pid}/fd`))
      .map((fd) => `/proc/${pid}/fd/${fd}`)
      .filter((path) => ofProcess(() => [readlinkSync(path)]).some((to) => to.startsWith(root) && to.endsWith(' (deleted)'))),
  );
}

/** Everything that lies on this machine's disk for our scratches, under a name or not. */
function backing(): string[] {
  const named = readdirSync(root, { recursive: true, encoding: 'utf8' }).map((name) => `${root}/${name}`);
  return [...named.filter((path) => statSync(path).isFile()), ...unlinkedFiles()];
}

/** What a scratch is made of: mounts in any namespace, loop devices, processes and unlinked files. */
function traces(): string[] {
  const mounts = processes().flatMap((pid) => ofProcess(() => readFileSync(`/proc/${pid}/mountinfo`, 'utf8').split('\n')).filter(isOurs));
  const loops = readdirSync('/sys/block')
    .map((name) => `/sys/block/${name}/loop/backing_file`)
    .filter((path) => ofProcess(() => [readFileSync(path, 'utf8')]).some((file) => file.startsWith(root)));
  const cwds = processes().filter((pid) => ofProcess(() => [readlinkSync(`/proc/${pid}/cwd`)]).some((to) => to.startsWith(root)));
  return [...mounts, ...loops, ...cwds, ...unlinkedFiles()];
}

async function assertNoTraces(): Promise<void> {
  // The kernel takes a namespace apart a moment after its last process.
  for (let tries = 0; tries < 100 && traces().length > 0; tries++) await delay(50);
  assert.deepEqual(traces(), []);
}

test('a plain scratch: the canary is found, so the search works', async () => {
  const scratch = await openScratch(contextFor('plain'), SIZE_MB);
  const canary = plantCanary(scratch.path);
  assert.equal(
    backing().some((path) => contains(path, canary)),
    true,
  );
  await scratch.destroy();
  assert.deepEqual(readdirSync(`${root}/scratch`), []);
});

test('at least one kind of secret scratch works here', () => assert.notDeepEqual(HERE, []));

for (const kind of HERE) {
  test(`${kind}: what is written is in nothing that lies under it, and all of it goes away`, async () => {
    const scratch = await openScratch(contextFor(kind), SIZE_MB);
    assert.equal(scratch.kind, kind);
    const canary = plantCanary(scratch.path);
    assert.equal(contains(`${scratch.path}/inputs/canary`, canary), true);
    assert.equal(existsSync(scratch.silo.path), false, 'only who enters the namespace sees it');
    const [enter = '', ...within] = scratch.silo.enter;
    const seen = spawnSync(enter, [...within, 'cat', `${scratch.silo.path}/inputs/canary`], { maxBuffer: 8 << 20 });
    assert.equal(seen.stdout.equals(readFileSync(`${scratch.path}/inputs/canary`)), true);
    assert.deepEqual(
      backing().filter((path) => contains(path, canary)),
      [],
    );
    if (kind === 'qemu-luks') {
      // The search was in the right place: there the bytes are, unreadable; and here, on the same sectors, readable.
      assert.ok(backing().some((path) => statSync(path).blocks * 512 > 4 << 20));
      assert.equal(contains(`${dirname(dirname(scratch.path))}/export`, canary), true);
    }
    assert.notDeepEqual(traces(), []);
    await scratch.destroy();
    await assertNoTraces();
    assert.deepEqual(readdirSync(`${root}/scratch`), []);
  });

  test(`${kind}: kill -9 of its owner takes everything but an empty folder, which the next run sweeps`, async () => {
    for (const wait of [0, 20, 40, 60, 100, 150, null]) {
      const owner = spawn(process.execPath, ['--input-type=module', '--eval', HOLDER, kind], { stdio: ['ignore', 'pipe', 'inherit'] });
      await (wait === null ? lineOf(owner) : loaded(owner, wait));
      if (wait === null) assert.notDeepEqual(traces(), []);
      owner.kill('SIGKILL');
      if (owner.exitCode === null && owner.signalCode === null) await once(owner, 'exit');
      await assertNoTraces();
      const left = readdirSync(`${root}/scratch`, { recursive: true, encoding: 'utf8' });
      if (wait === null) assert.ok(left.every((name) => statSync(`${root}/scratch/${name}`).isDirectory() || name.endsWith('/export')));
      openStore(root);
      assert.deepEqual(readdirSync(`${root}/scratch`), []);
    }
  });

  test(`${kind}: kill -9 of its supervisor ends it; nothing is written beside it`, async () => {
    const scratch = await openScratch(contextFor(kind), SIZE_MB);
    process.kill(Number(scratch.path.split('/')[2]), 'SIGKILL');
    await assertNoTraces();
    assert.throws(() => writeFileSync(`${scratch.path}/inputs/late`, ''), { code: 'ENOENT' });
    await scratch.destroy();
    assert.deepEqual(readdirSync(`${root}/scratch`), []);
  });

  test(`${kind}: kill -9 of all that it consists of, at once and in any order, leaves nothing, and nothing that hangs`, async () => {
    for (const order of ['as they come', 'backwards', 'the daemon alone'] as const) {
      const scratch = await openScratch(contextFor(kind), SIZE_MB);
      writeFileSync(`${scratch.path}/inputs/unwritten`, Buffer.alloc(20 << 20, 1));
      const pids = processes().filter((pid) => ofProcess(() => [readFileSync(`/proc/${pid}/mountinfo`, 'utf8')]).some(isOurs));
      const victims = order === 'backwards' ? pids.reverse() : order === 'as they come' ? pids : pids.filter(isDaemon);
      for (const pid of victims) ofProcess(() => [process.kill(Number(pid), 'SIGKILL')]);
      await scratch.destroy();
      await assertNoTraces();
      assert.deepEqual(readdirSync(`${root}/scratch`), []);
    }
  });

  test(`${kind}: a full volume is a full disk; another is as empty as before`, async () => {
    const [one, other] = await Promise.all([openScratch(contextFor(kind), SIZE_MB), openScratch(contextFor(kind), SIZE_MB)]);
    assert.throws(() => writeFileSync(`${one.path}/inputs/big`, Buffer.alloc((SIZE_MB + 1) << 20)), { code: 'ENOSPC' });
    assert.deepEqual(readdirSync(`${other.path}/inputs`), []);
    await Promise.all([one.destroy(), other.destroy()]);
    await assertNoTraces();
  });

  test(`${kind}: cancelled while it is made`, async () => {
    for (const wait of [0, 10, 30]) {
      const cancel = new AbortController();
      const opening = openScratch(contextFor(kind, cancel.signal), SIZE_MB).then((scratch) => scratch.destroy());
      await delay(wait);
      cancel.abort();
      await opening.catch((error: unknown) => assert.equal((error as { code: string }).code, 'CANCELLED'));
      await assertNoTraces();
      assert.deepEqual(readdirSync(`${root}/scratch`), []);
    }
  });
}

test('a kind that this host cannot have is refused, and auto rather fails than takes a plain one', async () => {
  const bare: HostFacts = { ...HOST, swaps: 'Filename\n/swap file 1 0 -2\n', hasProgram: (name) => !/cryptsetup|qemu/.test(name) };
  for (const kind of SECRET_KINDS) await assert.rejects(openScratch(contextFor(kind), SIZE_MB, bare), { code: 'HOST_CANNOT' });
  await assert.rejects(openScratch(contextFor('auto'), SIZE_MB, bare), (error: Error & { code: string }) => {
    assert.equal(error.code, 'HOST_CANNOT');
    assert.match(error.message, /cryptsetup not installed.*qemu-storage-daemon not installed.*swap is on/);
    return true;
  });
  assert.deepEqual(readdirSync(`${root}/scratch`), []);
});

test('a tool that fails is HOST_CANNOT with what it said, and auto goes on to the next kind', async () => {
  const pretending: HostFacts = { ...HOST, hasProgram: () => true, hasFile: () => true };
  if (!HERE.includes('luks')) {
    await assert.rejects(openScratch(contextFor('luks'), SIZE_MB, pretending), { code: 'HOST_CANNOT', message: /could not be made: ./ });
    await assertNoTraces();
  }
  const scratch: Scratch = await openScratch(contextFor('auto'), SIZE_MB, pretending);
  assert.equal(scratch.kind, HERE[0]);
  await scratch.destroy();
  await assertNoTraces();
});

test('LOCKSTEP_SCRATCH: a build gives the same bytes on every kind; a name that is none is refused', () => {
  const project = `${folder}/project`;
  mkdirSync(project);
  const steps = ['seq 200000 > /tmp/x', 'sha256sum < /tmp/x > out', 'ls -a . >> out', 'mkdir -p t/u; cp out t/u/copy'];
  writeFileSync(
    `${project}/lockstep.toml`,
    `name = "case"\nversion = "1"\n[source]\nref = "."\n[environment]\nkind = "host"\n[build]\nsteps = ${JSON.stringify(steps)}\n` +
      '[[outputs]]\nfiles = "out"\n[[outputs]]\ntree = "t"\nname = "t.tar"\n[resources]\nmemory_mb = 256\nscratch_mb = 128\noutput_mb = 16\ntimeout = 60\n',
  );
  const run = (args: readonly string[], scratch: string): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(process.execPath, [CLI, ...args, '--json'], {
      encoding: 'utf8',
      env: { ...process.env, LOCKSTEP_HOME: root, LOCKSTEP_SCRATCH: scratch },
    });
  assert.equal(run(['lock', project], 'plain').status, 0);
  const digests = ['plain', ...HERE, 'auto'].map((kind) => {
    const built = run(['build', project, '--fresh', '--out', `${folder}/out-${kind}`], kind);
    assert.equal(built.status, 0, built.stderr);
    if (kind !== 'plain') assert.match(built.stderr, new RegExp(kind === 'auto' ? String(HERE[0]) : kind));
    return (JSON.parse(built.stdout) as { outputs: unknown }).outputs;
  });
  for (const one of digests) assert.deepEqual(one, digests[0]);
  assert.deepEqual(traces(), []);
  assert.deepEqual(readdirSync(`${root}/scratch`), []);
  const wrong = run(['build', project], 'dm-crypt');
  assert.equal((JSON.parse(wrong.stdout) as { error: { code: string } }).error.code, 'USAGE');
});

const CLI = `${import.meta.dirname}/../../../cli/src/main.ts`;

/** A process that makes a scratch, writes into it, and keeps it. */
const HOLDER = `
import { openStore } from '@lockstep/store/store';
import { writeFileSync } from 'node:fs';
import { secretScratch } from ${JSON.stringify(`${import.meta.dirname}/scratch-volume.ts`)};
import { readHostFacts } from ${JSON.stringify(`${import.meta.dirname}/host-support.ts`)};
const owner = { store: openStore(${JSON.stringify(root)}), cancelled: new AbortController().signal };
console.log('loaded');
const scratch = await secretScratch(owner, process.argv[1], ${SIZE_MB}, readHostFacts());
// Not written to the volume yet when it is killed: the kernel has to get rid of it.
writeFileSync(scratch.path + '/inputs/file', Buffer.alloc(20 << 20, 1));
console.log('held');
setInterval(() => {}, 1000);
`;

async function until(child: ChildProcess, word: string): Promise<void> {
  let text = '';
  for await (const bytes of child.stdout ?? []) {
    text += String(bytes);
    if (text.includes(word)) return;
  }
  throw new Error(`it ended without saying "${word}"`);
}

const lineOf = (child: ChildProcess): Promise<void> => until(child, 'held');

async function loaded(child: ChildProcess, wait: number): Promise<void> {
  await until(child, 'loaded');
  await delay(wait);
}
