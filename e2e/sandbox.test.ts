/**
 * What a build may not do. Each probe is a command that succeeds when the attack works; it has to fail inside the
 * sandbox, and the same command, run outside as a control, has to succeed: a probe that never works shows nothing.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import { build, leftovers, lockstep, project, SILO, temporaryFolder } from './lockstep.ts';
import { EXAMPLE_JOB } from './silo-job.ts';

/** perl's syscall: exits 0 unless the kernel answers EPERM (1) or ENOSYS (38). */
const call = (number: number, ...args: readonly (number | string)[]): string =>
  `perl -e '$r = syscall(${[number, ...args].join(', ')}); exit(($r == -1 && ($! + 0 == 1 || $! + 0 == 38)) ? 1 : 0)'`;

let tcp: Server;
let unix: Server;
let port = 0;
const abstractName = `lockstep-probe-${process.pid}`;
const hostFile = `${mkdtempSync(`${tmpdir()}/lockstep-probe-`)}/secret`;

before(async () => {
  writeFileSync(hostFile, 'secret', { mode: 0o644 });
  tcp = createServer((socket) => socket.end());
  unix = createServer((socket) => socket.end());
  await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve));
  await new Promise<void>((resolve) => unix.listen(`\0${abstractName}`, resolve));
  const address = tcp.address();
  port = typeof address === 'object' && address !== null ? address.port : 0;
});

after(() => {
  tcp.close();
  unix.close();
  rmSync(hostFile.replace(/\/secret$/, ''), { recursive: true, force: true });
  assert.deepEqual(leftovers(), []);
});

interface Probe {
  readonly name: string;
  readonly attack: () => string;
  /** Where the host's own settings could forbid it too, another command that shows the same outside. */
  readonly control?: () => string;
}

const PROBES: readonly Probe[] = [
  {
    name: 'reach a TCP port of the host',
    attack: () =>
      `perl -MIO::Socket::INET -e 'exit(IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => ${port}, Timeout => 2) ? 0 : 1)'`,
  },
  {
    name: 'reach an abstract unix socket of the host',
    attack: () =>
      `perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0) or exit 1; exit(connect(S, pack("S a*", AF_UNIX, "\\0${abstractName}")) ? 0 : 1)'`,
  },
  { name: 'read a file of the host', attack: () => `cat ${hostFile} >/dev/null 2>&1` },
  {
    name: 'see a process of the host',
    attack: () => `[ "$(tr "\\0" " " < /proc/${process.pid}/cmdline 2>/dev/null | grep -c sandbox)" != 0 ]`,
  },
  { name: 'write to /usr', attack: () => 'touch /usr/lockstep-probe 2>/dev/null && rm /usr/lockstep-probe' },
  { name: 'write to /etc', attack: () => 'touch /etc/lockstep-probe 2>/dev/null && rm /etc/lockstep-probe' },
  { name: 'mount', attack: () => 'mkdir -p /tmp/m && mount -t tmpfs none /tmp/m 2>/dev/null && umount /tmp/m' },
  { name: 'make a user namespace', attack: () => 'unshare --user true 2>/dev/null' },
  { name: 'make a network namespace', attack: () => 'unshare --net true 2>/dev/null' },
  { name: 'change the owner of a file', attack: () => 'touch /tmp/f && chown 12345 /tmp/f 2>/dev/null' },
  { name: 'make a device node', attack: () => 'mknod /tmp/null-probe c 1 3 2>/dev/null && rm /tmp/null-probe' },
  { name: 'set the host name', attack: () => 'hostname "$(hostname)" 2>/dev/null' },
  { name: 'have capabilities', attack: () => "grep -q 'CapEff:.*[1-9a-f]' /proc/self/status" },
  { name: 'gain privileges through exec', attack: () => "grep -q 'NoNewPrivs:.*0' /proc/self/status" },
  { name: 'run without a seccomp filter', attack: () => "grep -q 'Seccomp:.*0' /proc/self/status" },
  {
    name: 'write to /proc/sys',
    attack: () => 'cat /proc/sys/kernel/pid_max > /tmp/v && cat /tmp/v 2>/dev/null > /proc/sys/kernel/pid_max',
  },
  { name: 'read the kernel symbols', attack: () => '[ "$(head -c 100 /proc/kallsyms 2>/dev/null | wc -c)" != 0 ]' },
  { name: 'see the hardware in /sys', attack: () => '[ -e /sys/kernel ] || [ -e /sys/block ]' },
  { name: 'trace a process', attack: () => call(101, 16, 1, 0, 0), control: () => call(101, 16, 99999999, 0, 0) },
  { name: 'use bpf', attack: () => call(321, 0, 0, 0) },
  { name: 'use perf events', attack: () => call(298, 0, 0, -1, -1, 0) },
  { name: 'use io_uring', attack: () => call(425, 1, 0) },
  { name: 'use the kernel keyring', attack: () => call(250, 0, -1, 0) },
  { name: 'enter a namespace', attack: () => call(308, -1, 0) },
  { name: 'open a file by handle', attack: () => call(304, -1, 0, 0) },
  { name: 'read the memory of a process', attack: () => call(310, 1, 0, 0, 0, 0, 0), control: () => call(310, 99999999, 0, 0, 0, 0, 0) },
  { name: 'set the clock', attack: () => call(227, 99, 0), control: () => call(227, 99, 0) },
  { name: 'switch process accounting', attack: () => call(163, 0) },
  { name: 'open a packet socket', attack: () => "perl -MSocket -e 'exit(socket(S, 17, 3, 0) ? 0 : 1)'" },
  { name: 'open a netlink socket to the kernel’s crypto', attack: () => "perl -e 'exit(socket(S, 38, 5, 0) || $! + 0 == 97 ? 0 : 1)'" },
  { name: 'see a network interface', attack: () => '[ "$(grep -c \':\' /proc/net/dev)" -gt 1 ]' },
  { name: 'see a variable of the caller', attack: () => '[ -n "${LOCKSTEP_PROBE_SECRET-}" ]' },
  { name: 'have a terminal', attack: () => ': < /dev/tty', control: () => "script -qec ': < /dev/tty' /dev/null" },
];

test('a build cannot do what a process of the host can', () => {
  const script = PROBES.map(
    (probe, index) => `( ${probe.attack()} ) >/dev/null 2>&1 </dev/null && echo "${index} works" >> out || echo "${index} blocked" >> out`,
  ).join('\n');
  const folder = project({ steps: [script] });
  const run = build(folder, [], { LOCKSTEP_PROBE_SECRET: 'hunter2' });
  assert.equal(run.status, 0, run.stderr);
  const inside = new Map(
    readFileSync(`${folder}/lockstep-out/out`, 'utf8')
      .trim()
      .split('\n')
      .map((line) => [Number(line.split(' ')[0]), line.split(' ')[1]]),
  );
  for (const [index, probe] of PROBES.entries()) {
    assert.equal(inside.get(index), 'blocked', `inside: ${probe.name}`);
    const control = spawnSync('/bin/sh', ['-c', (probe.control ?? probe.attack)()], {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LOCKSTEP_PROBE_SECRET: 'hunter2' },
    });
    assert.equal(control.status, 0, `the control shows nothing: ${probe.name}: ${control.stderr.toString()}`);
  }
});

test('a build sees only its own three descriptors, and only the documented environment', () => {
  const folder = project({
    steps: ['ls /proc/self/fd | wc -l > out; env | cut -d= -f1 | sort | tr "\\n" " " >> out;'],
  });
  const run = build(folder, [], { SECRET_TOKEN: 'x' });
  assert.equal(run.status, 0, run.stderr);
  const [count, names] = readFileSync(`${folder}/lockstep-out/out`, 'utf8').split('\n');
  // 0, 1, 2 and the one that ls has opened to list them.
  assert.equal(count?.trim(), '4');
  assert.equal(names?.trim(), 'HOME LC_ALL LOGNAME OLDPWD PATH PWD SOURCE_DATE_EPOCH TMPDIR TZ USER');
});

test('the attestation key is not to be found inside a build', () => {
  const key = lockstep(['key', '--json']);
  const path = (JSON.parse(key.stdout) as { private: string }).private;
  assert.match(readFileSync(path, 'utf8'), /PRIVATE KEY/, 'the control: it is readable outside');
  const folder = project({
    steps: [`cat ${path} > out 2>&1 || echo hidden > out; find / -xdev -name 'attestation*' 2>/dev/null >> out || :`],
  });
  assert.equal(build(folder).status, 0);
  assert.equal(readFileSync(`${folder}/lockstep-out/out`, 'utf8'), 'hidden\n');
});

test('the CPU count is what the definition declares, in every place that tells it', () => {
  const folder = project({
    steps: [
      'nproc > out; getconf _NPROCESSORS_ONLN >> out; getconf _NPROCESSORS_CONF >> out; grep -c ^processor /proc/cpuinfo >> out; grep -c "^cpu[0-9]" /proc/stat >> out; cat /sys/devices/system/cpu/online >> out',
    ],
    resources: 'cpus = 1\nmemory_mb = 128\nscratch_mb = 64\ntimeout = 20',
  });
  assert.equal(build(folder).status, 0);
  assert.equal(readFileSync(`${folder}/lockstep-out/out`, 'utf8'), '1\n1\n1\n1\n1\n0\n');
});

interface SiloResult {
  readonly status: string;
  readonly failure: { readonly code: string; readonly message: string } | null;
}

function runSilo(job: object, args: readonly string[] = []): SiloResult {
  const scratch = temporaryFolder();
  mkdirSync(`${scratch}/inputs`);
  writeFileSync(`${scratch}/job.json`, JSON.stringify(job));
  spawnSync(SILO, ['run', scratch, ...args], { env: { PATH: process.env['PATH'] ?? '', LOCKSTEP_NODE: process.execPath } });
  return JSON.parse(readFileSync(`${scratch}/result.json`, 'utf8')) as SiloResult;
}

/** A root file system that is only links into a bound /usr; enough for /bin/sh. */
function smallRootfs(): string {
  const root = temporaryFolder();
  for (const name of ['etc', 'proc', 'sys', 'dev', 'tmp', 'run', 'var', 'usr']) mkdirSync(`${root}/${name}`);
  const copy = spawnSync('/bin/sh', [
    '-c',
    `mkdir -p ${root}/bin ${root}/lib64 ${root}/lib/x86_64-linux-gnu; cp /bin/sh ${root}/bin/; for f in $(ldd /bin/sh | grep -o '/[^ ]*'); do mkdir -p ${root}$(dirname $f); cp $f ${root}$f; done`,
  ]);
  assert.equal(copy.status, 0, copy.stderr.toString());
  return root;
}

test('an environment that lays a link where the sandbox mounts is refused; without it, it works', () => {
  assert.equal(runSilo({ ...EXAMPLE_JOB, rootfs: { kind: 'directory', path: smallRootfs() } }).failure, null);
  for (const name of ['proc', 'sys', 'dev', 'tmp', 'run', 'etc']) {
    const root = smallRootfs();
    rmSync(`${root}/${name}`, { recursive: true });
    symlinkSync('/tmp', `${root}/${name}`);
    const { failure } = runSilo({ ...EXAMPLE_JOB, rootfs: { kind: 'directory', path: root } });
    assert.equal(failure?.code, 'ROOTFS_UNSAFE', `${name}: ${failure?.message}`);
  }
});

test('the silo refuses a job that it does not understand', () => {
  for (const job of [
    { ...EXAMPLE_JOB, surprise: 1 },
    { ...EXAMPLE_JOB, network: 'host' },
    { ...EXAMPLE_JOB, inputs: [{ path: '../x', target: '/build/x', as: 'file', strip: 0 }] },
    { ...EXAMPLE_JOB, env: { 'A=B': 'x' } },
    { ...EXAMPLE_JOB, schema: 'v9' },
  ]) {
    assert.equal(runSilo(job).failure?.code, 'JOB_INVALID');
  }
});

test('crun runs the same bundle', () => {
  const { failure } = runSilo(EXAMPLE_JOB, ['--runtime', 'crun']);
  assert.equal(failure, null, failure?.message);
});

test('readiness is a line on the given descriptor', () => {
  const scratch = temporaryFolder();
  mkdirSync(`${scratch}/inputs`);
  writeFileSync(`${scratch}/job.json`, JSON.stringify(EXAMPLE_JOB));
  const run = spawnSync(SILO, ['run', scratch, '--ready-fd=3'], {
    stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
    env: { PATH: process.env['PATH'] ?? '', LOCKSTEP_NODE: process.execPath },
  });
  assert.equal(run.status, 0);
  assert.equal(run.output[3]?.toString(), '\n');
});
