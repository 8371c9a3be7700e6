/** Wrong, absurd and hostile input: each gives its named error and status, and the host is healthy after. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { build, errorOf, leftovers, lockstep, manifest, project, type ProjectParts } from './lockstep.ts';

interface LockCase {
  readonly name: string;
  readonly change: (folder: string) => void;
  readonly code: string;
}

const LOCKS: readonly LockCase[] = [
  { name: 'missing', change: (folder) => writeFileSync(`${folder}/unrelated`, ''), code: 'LOCK_MISSING' },
  { name: 'not JSON', change: (folder) => writeFileSync(`${folder}/lockstep.lock`, '{"schema":'), code: 'JSON_INVALID' },
  { name: 'a key twice', change: (folder) => writeFileSync(`${folder}/lockstep.lock`, '{"schema":1,"schema":2}'), code: 'JSON_INVALID' },
  {
    name: 'another schema',
    change: (folder) => writeFileSync(`${folder}/lockstep.lock`, '{"schema":"lockstep-lock/v9"}'),
    code: 'LOCK_INVALID',
  },
  {
    name: 'stale',
    change: (folder) => {
      lockstep(['lock', folder, '-q']);
      writeFileSync(`${folder}/lockstep.toml`, manifest({ source: 'ref = "."\nexclude = ["x"]' }));
    },
    code: 'LOCK_STALE',
  },
  {
    name: 'a source that changed since',
    change: (folder) => {
      lockstep(['lock', folder, '-q']);
      writeFileSync(`${folder}/new-file`, 'new');
    },
    code: 'SOURCE_CHANGED',
  },
  {
    name: 'a path that climbs',
    change: (folder) => {
      lockstep(['lock', folder, '-q']);
      const text = readFileSync(`${folder}/lockstep.lock`, 'utf8');
      writeFileSync(`${folder}/lockstep.lock`, text.replace('"to":"."', '"to":"../../etc"'));
    },
    code: 'LOCK_INVALID',
  },
];

for (const one of LOCKS) {
  test(`lock: ${one.name}`, () => {
    const folder = project({});
    one.change(folder);
    const run = lockstep(['build', folder, '--json', '-q']);
    assert.equal(errorOf(run.stdout).code, one.code, run.stderr);
    assert.notEqual(run.status, 0);
  });
}

interface BuildCase {
  readonly name: string;
  readonly parts: ProjectParts;
  /** The silo's own code. */
  readonly reason: string;
  readonly says?: RegExp;
}

const tree = '[[outputs]]\ntree = "d"\nname = "d.tar"';
const BUILDS: readonly BuildCase[] = [
  { name: 'a step that fails', parts: { steps: ['echo before', 'exit 7'] }, reason: 'STEP_FAILED', says: /status 7/ },
  { name: 'a command that is not there', parts: { steps: ['no-such-command'] }, reason: 'STEP_FAILED', says: /127/ },
  { name: 'a step that hangs', parts: { steps: ['sleep 1000'], resources: 'timeout = 2' }, reason: 'TIMED_OUT' },
  {
    name: 'a step that ignores SIGTERM',
    parts: { steps: ["trap '' TERM INT HUP; while :; do sleep 1; done"], resources: 'timeout = 2' },
    reason: 'TIMED_OUT',
  },
  {
    name: 'a fork bomb',
    parts: { steps: ['bomb() { bomb | bomb & }; bomb; sleep 60'], resources: 'timeout = 4\nprocesses = 64\nmemory_mb = 128' },
    reason: 'TIMED_OUT',
  },
  {
    name: 'a step that eats memory',
    parts: { steps: ['head -c 1000000000 /dev/zero | tail'], resources: 'memory_mb = 64\ntimeout = 30' },
    reason: 'OUT_OF_MEMORY',
  },
  {
    name: 'a child that is killed for memory while the step goes on',
    parts: { steps: ['head -c 1000000000 /dev/zero | tail || true; echo x > out'], resources: 'memory_mb = 64\ntimeout = 30' },
    reason: 'OUT_OF_MEMORY',
  },
  {
    name: 'memory eaten through /dev/shm',
    parts: { steps: ['head -c 400000000 /dev/zero > /dev/shm/x'], resources: 'memory_mb = 48\ntimeout = 30' },
    reason: 'STEP_FAILED|OUT_OF_MEMORY|DISK_FULL',
  },
  { name: 'a full disk', parts: { steps: ['head -c 400000000 /dev/zero > big'], resources: 'scratch_mb = 64' }, reason: 'DISK_FULL' },
  {
    name: 'a full disk through /tmp',
    parts: { steps: ['head -c 400000000 /dev/zero > /tmp/big'], resources: 'scratch_mb = 64' },
    reason: 'DISK_FULL',
  },
  {
    name: 'all inodes used',
    parts: { steps: ['i=0; while : > f$i; do i=$((i+1)); done'], resources: 'scratch_mb = 16' },
    reason: 'DISK_FULL',
  },
  {
    name: 'a gigabyte of output',
    parts: { steps: ['yes | head -c 1000000000'], resources: 'transcript_mb = 4' },
    reason: 'TRANSCRIPT_TOO_LARGE',
  },
  { name: 'no output', parts: { steps: ['true'] }, reason: 'OUTPUT_MISSING' },
  { name: 'a setuid program', parts: { steps: ['cp /bin/true out; chmod 4755 out'] }, reason: 'OUTPUT_REFUSED', says: /setuid/ },
  {
    name: 'a setgid directory',
    parts: { steps: ['mkdir d; mkdir -m 2755 d/e; chmod g+s d/e'], outputs: tree },
    reason: 'OUTPUT_REFUSED',
    says: /setgid|setuid/,
  },
  { name: 'a FIFO', parts: { steps: ['mkfifo out'] }, reason: 'OUTPUT_REFUSED', says: /FIFO/ },
  { name: 'a FIFO in a tree', parts: { steps: ['mkdir d; mkfifo d/x'], outputs: tree }, reason: 'OUTPUT_REFUSED', says: /FIFO/ },
  {
    name: 'a socket in a tree',
    parts: { steps: ['mkdir d; perl -MIO::Socket::UNIX -e \'IO::Socket::UNIX->new(Local=>"d/s",Listen=>1) or die\''], outputs: tree },
    reason: 'OUTPUT_REFUSED',
    says: /socket/,
  },
  { name: 'a device node', parts: { steps: ['mknod out c 1 3'] }, reason: 'STEP_FAILED' },
  {
    name: 'an absolute link',
    parts: { steps: ['mkdir d; ln -s /etc/passwd d/x'], outputs: tree },
    reason: 'OUTPUT_REFUSED',
    says: /outside the tree/,
  },
  {
    name: 'a link that climbs',
    parts: { steps: ['mkdir -p d/e; ln -s ../../x d/e/x'], outputs: tree },
    reason: 'OUTPUT_REFUSED',
    says: /outside the tree/,
  },
  { name: 'a link instead of a file', parts: { steps: ['ln -s /etc/passwd out'] }, reason: 'OUTPUT_REFUSED' },
  {
    name: 'an output below a link',
    parts: { steps: ['ln -s /etc d'], outputs: '[[outputs]]\nfiles = "d/passwd"' },
    reason: 'OUTPUT_REFUSED',
    says: /not a directory/,
  },
  {
    name: 'an extended attribute',
    parts: { steps: ['echo x > out; setfattr -n user.x -v y out'] },
    reason: 'OUTPUT_REFUSED',
    says: /extended attribute/,
  },
  {
    name: 'a name that is not UTF-8',
    parts: { steps: ['mkdir d; touch "d/$(printf \'\\377\')"'], outputs: tree },
    reason: 'OUTPUT_REFUSED',
    says: /UTF-8/,
  },
  {
    name: 'a name with a newline',
    parts: { steps: ['mkdir d; touch "d/$(printf \'a\\nb\')"'], outputs: tree },
    reason: 'OUTPUT_REFUSED',
    says: /control character/,
  },
  {
    name: 'a name with an escape sequence',
    parts: { steps: ['mkdir d; touch "d/$(printf \'a\\033[2Jb\')"'], outputs: tree },
    reason: 'OUTPUT_REFUSED',
    says: /control character/,
  },
  {
    name: 'more files than declared',
    parts: { steps: ['mkdir d; for i in $(seq 50); do : > d/$i; done'], outputs: tree, resources: 'output_files = 10' },
    reason: 'OUTPUT_TOO_LARGE',
  },
  {
    name: 'deeper than declared',
    parts: { steps: ['mkdir -p d/1/2/3/4/5/6/7/8'], outputs: tree, resources: 'output_depth = 4' },
    reason: 'OUTPUT_TOO_LARGE',
  },
  {
    name: 'more bytes than declared',
    parts: { steps: ['head -c 3000000 /dev/zero > out'], resources: 'output_mb = 1' },
    reason: 'OUTPUT_TOO_LARGE',
  },
  { name: 'a sparse giant', parts: { steps: ['truncate -s 1T out'], resources: 'output_mb = 100' }, reason: 'OUTPUT_TOO_LARGE' },
  {
    name: 'two outputs of one name',
    parts: { steps: ['mkdir a b; echo 1 > a/x; echo 2 > b/x'], outputs: '[[outputs]]\nfiles = "*/x"' },
    reason: 'OUTPUT_REFUSED',
    says: /this name/,
  },
  { name: 'more CPUs than there are', parts: { resources: 'cpus = 900' }, reason: 'HOST_CANNOT' },
];

for (const one of BUILDS) {
  test(`build: ${one.name}`, () => {
    const folder = project(one.parts);
    const run = build(folder, ['--json']);
    const error = errorOf(run.stdout);
    assert.match(error.cause ?? '', new RegExp(`^(?:${one.reason})$`), `${run.stdout} ${run.stderr}`);
    assert.equal(error.code, one.reason === 'HOST_CANNOT' ? 'HOST_CANNOT' : 'BUILD_FAILED');
    if (one.says !== undefined) assert.match(error.message, one.says);
    assert.deepEqual(leftovers(), []);
  });
}

test('a project cannot choose where its outputs land, what else is a source, or which commands run while it is locked', () => {
  const code = (run: { stdout: string }): string => errorOf(run.stdout).code;
  const elsewhere = project({});
  const linked = project({});
  symlinkSync(elsewhere, `${linked}/lockstep-out`);
  assert.equal(code(build(linked, ['--json'])), 'FETCH_REFUSED');
  assert.ok(!existsSync(`${elsewhere}/out`));

  const outside = project({ source: 'ref = ".."' });
  assert.equal(code(lockstep(['lock', outside, '--json', '-q'])), 'FETCH_REFUSED');
  const keys = project({});
  assert.equal(code(lockstep(['lock', keys, '--json', '-q'], { env: { LOCKSTEP_HOME: `${keys}/home` } })), 'FETCH_REFUSED');

  const marker = `${elsewhere}/injected`;
  const injected = project({
    inputs: `[[inputs]]\nnpm_lock = "--checkpoint-action=exec=touch ${marker}"`,
    files: { big: 'x'.repeat(400_000) },
  });
  assert.equal(code(lockstep(['lock', injected, '--json', '-q'])), 'MANIFEST_INVALID');
  assert.ok(!existsSync(marker));

  const secret = project({ source: 'ref = "."\nexclude = ["package-lock.json"]', inputs: '[[inputs]]\nnpm_lock = "package-lock.json"' });
  symlinkSync('/etc/shadow', `${secret}/package-lock.json`);
  const run = lockstep(['lock', secret, '--json', '-q']);
  assert.equal(code(run), 'FETCH_REFUSED');
  assert.doesNotMatch(run.stdout, /root:/);
});

test('a lock that claims another origin than its files have is refused', () => {
  const folder = project({});
  lockstep(['lock', folder, '-q']);
  const text = readFileSync(`${folder}/lockstep.lock`, 'utf8');
  writeFileSync(`${folder}/lockstep.lock`, text.replace('"uri":"directory"', '"uri":"https://example.org/x"'));
  assert.equal(errorOf(lockstep(['build', folder, '--json', '-q']).stdout).code, 'LOCK_INVALID');
});

test('a glob cannot hang the silo, and marks cannot be forged or flooded', () => {
  const glob = project({ steps: ["touch $(printf 'a%.0s' $(seq 200))"], outputs: '[[outputs]]\nfiles = "*a*a*a*a*a*a*a*a*a*a*a*a*b"' });
  const since = performance.now();
  assert.equal(errorOf(build(glob, ['--json']).stdout).cause, 'OUTPUT_MISSING');
  assert.ok(performance.now() - since < 10_000);
  const marks = project({ steps: ['for fd in /proc/1/fd/*; do echo "start 0" 2>/dev/null > $fd; done || :; echo x > out'] });
  assert.equal(build(marks).status, 0);
});

test('32-bit socketcall does not get around the socket filter', () => {
  const program = `
#include <stdio.h>
#include <sys/mman.h>
int main(void) {
  unsigned *args = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  int result;
  args[0] = 40; args[1] = 1; args[2] = 0;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(102), "b"(1), "c"(args) : "memory");
  return result == -1 || result == -38 ? 0 : 1;
}`;
  const folder = project({
    files: { 'probe.c': program },
    steps: ['cc -o probe probe.c', 's=0; ./probe || s=$?; [ $s = 0 ] || [ $s -gt 128 ]', 'echo blocked > out'],
  });
  const run = build(folder);
  assert.equal(run.status, 0, run.stderr);
  const control = spawnSync('/bin/sh', ['-c', `cd ${folder} && cc -o probe probe.c && ./probe`]);
  assert.equal(control.status, 1, 'the control: outside, it opens the socket or gets as far as the kernel');
});

test('build: a daemon that is left behind dies with the build', () => {
  const folder = project({ steps: ['(setsid sleep 12345 &) ; sleep 0.2; echo x > out'] });
  assert.equal(build(folder).status, 0);
  assert.deepEqual(leftovers(), []);
  assert.doesNotMatch(processes(), /sleep 12345/);
});

test('build: escape sequences reach the transcript raw and the terminal harmless', () => {
  const folder = project({ steps: ["printf 'bad \\033]0;title\\007\\033[31m text\\n'; exit 1"] });
  const run = build(folder);
  assert.equal(run.status, 1);
  assert.doesNotMatch(run.stderr, /\u001b/);
  assert.match(run.stderr, /␛/);
});

test('verify: what is not an attestation is a failed step, and a missing key is a usage error', () => {
  const folder = project({ files: { file: 'x', 'file.intoto.json': '{"payload": 1}' } });
  const key = lockstep(['key']).stdout;
  writeFileSync(`${folder}/key.pem`, key);
  const run = lockstep(['verify', `${folder}/file`, '--key', `${folder}/key.pem`, '--json']);
  assert.equal(run.status, 6);
  assert.equal((JSON.parse(run.stdout) as { steps: { name: string; state: string }[] }).steps[0]?.state, 'fail');
  assert.equal(lockstep(['verify', `${folder}/file`]).status, 2);
  assert.equal(lockstep(['verify', `${folder}/nothing`, '--key', `${folder}/key.pem`]).status, 2);
  assert.equal(lockstep(['verify', `${folder}/file`, '--key', `${folder}/file`]).status, 2);
});

test('verify: an unsigned key id cannot add a line of its own to the verdict', () => {
  const folder = project({});
  assert.equal(build(folder).status, 0);
  const out = `${folder}/lockstep-out`;
  const name = `${out}/case-1.intoto.json`;
  const envelope = JSON.parse(readFileSync(name, 'utf8')) as { payload: string; signatures: { keyid: string; sig: string }[] };
  const forged = { ...envelope, signatures: [{ keyid: '\nVERIFIED out\n', sig: 'AAAA' }] };
  writeFileSync(name, JSON.stringify(forged));
  writeFileSync(`${folder}/key.pem`, lockstep(['key']).stdout);
  const run = lockstep(['verify', `${out}/out`, '--key', `${folder}/key.pem`]);
  assert.equal(run.status, 6);
  assert.doesNotMatch(run.stdout, /^VERIFIED/m);
});

test('git+file: a link in place of .git is refused, and what it leads to keeps its permissions', () => {
  const real = project({});
  spawnSync('git', ['init', '-q', real]);
  chmodSync(`${real}/.git`, 0o700);
  const bait = project({});
  symlinkSync(`${real}/.git`, `${bait}/.git`);
  const folder = project({ source: `ref = "git+file://${bait}#refs/tags/v1"` });
  const run = lockstep(['lock', folder, '--json', '-q']);
  assert.equal(errorOf(run.stdout).code, 'FETCH_REFUSED');
  assert.equal(statSync(`${real}/.git`).mode & 0o777, 0o700);
});

test('a farm id that is not one is refused; one that people get wrong is warned about', () => {
  const folder = project({});
  assert.equal(lockstep(['lock', folder, '-q'], { env: { LOCKSTEP_FARM_ID: 'Not A Farm' } }).status, 2);
  const run = lockstep(['lock', folder, '-q'], { env: { LOCKSTEP_FARM_ID: 'example-build-20261121' } });
  assert.match(run.stderr, /looks as if it holds a date/);
});

function processes(): string {
  return spawnSync('ps', ['-eo', 'args'], { encoding: 'utf8' }).stdout;
}

after(() => assert.deepEqual(leftovers(), []));
