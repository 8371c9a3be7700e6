/** One package for each variation that leaks exactly it; one with two causes; one that is random; one that is clean. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lockstep, project } from './lockstep.ts';

interface Report {
  readonly verdict: string;
  readonly builds: number;
  readonly causes: readonly {
    readonly variations: readonly string[];
    readonly differences: readonly { file: string; offset: number | null; where: string }[];
  }[];
}

interface Leak {
  readonly name: string;
  readonly step: string;
  readonly causes: readonly (readonly string[])[];
  readonly cpus?: number;
}

/** Each prints one fact and nothing else that could vary. */
const LEAKS: readonly Leak[] = [
  { name: 'the day', step: 'date -u +%F > out', causes: [['clock']] },
  {
    name: 'the time of a new file',
    step: 'touch new; tar --format=ustar -cf out --owner=0 --group=0 --numeric-owner --mode=644 new',
    causes: [['clock']],
  },
  { name: 'the second', step: 'date -u +%s > out', causes: [['clock']] },
  { name: 'directory order', step: 'mkdir d; for f in a b c d e f g; do : > d/$f; done; ls -U d > out', causes: [['directory-order']] },
  { name: 'an address', step: "sed -n '/\\[stack\\]/s/-.*//p' /proc/self/maps > out", causes: [['address-layout']] },
  { name: 'the kernel release', step: 'uname -r > out', causes: [['kernel']] },
  { name: 'the CPU model', step: "grep -m1 'model name' /proc/cpuinfo > out || echo none > out", causes: [['cpu-model']] },
  { name: 'the memory size', step: 'grep MemTotal /proc/meminfo > out', causes: [['memory']] },
  { name: 'the build path', step: 'pwd > out', causes: [['build-path']] },
  { name: 'the user', step: 'id -un > out', causes: [['user']] },
  { name: 'the umask', step: 'umask > out', causes: [['umask']] },
  { name: 'the host name', step: 'uname -n > out', causes: [['hostname']] },
  { name: 'the time zone', step: 'TZ=${TZ} date -d @1700000000 +%H:%M > out', causes: [['timezone']] },
  { name: 'the locale', step: 'printf "%s\\n" "$LC_ALL" > out', causes: [['locale']] },
  { name: 'the home directory', step: 'echo ~ > out', causes: [['home']] },
  { name: 'a stray variable', step: 'echo "${EDITOR-}" > out', causes: [['environment']] },
  { name: 'the CPU count', step: 'nproc > out', causes: [['cpus']] },
  { name: 'two causes', step: 'uname -n > out; umask >> out', causes: [['umask'], ['hostname']] },
  {
    name: 'a race that load decides',
    // Wall time against processor time of the same loop: about one on a quiet machine, two or three where every CPU is busy.
    step: "a=$(date +%s%N); i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; b=$(date +%s%N); u=$(awk '{print ($14+$15)*10}' /proc/$$/stat); [ $(( (b-a)/1000000 )) -gt $((u*7/5)) ] && echo late > out || echo early > out",
    causes: [['load']],
  },
  { name: 'nothing', step: 'echo same > out', causes: [] },
];

function vary(step: string, cpus = 1): { status: number | null; report: Report; stderr: string } {
  const folder = project({ steps: [step], resources: `cpus = ${cpus}\nmemory_mb = 256\nscratch_mb = 64\ntimeout = 60` });
  const locked = lockstep(['lock', folder, '-q']);
  assert.equal(locked.status, 0, locked.stderr);
  const run = lockstep(['build', folder, '--vary', '--json', '-q']);
  return { status: run.status, report: JSON.parse(run.stdout) as Report, stderr: run.stderr };
}

for (const leak of LEAKS) {
  test(`build --vary names the cause: ${leak.name}`, () => {
    const { status, report, stderr } = vary(leak.step, leak.cpus);
    const found = report.causes.map((cause) => [...cause.variations].sort()).sort();
    assert.deepEqual(found, leak.causes.map((cause) => [...cause].sort()).sort(), stderr);
    assert.equal(report.verdict, leak.causes.length === 0 ? 'equal' : 'differs');
    assert.equal(status, leak.causes.length === 0 ? 0 : 4);
    for (const cause of report.causes)
      assert.ok(cause.differences.length > 0 && cause.differences[0]?.file === 'out', 'says where the bytes differ');
  });
}

test('build --vary calls a random build unstable and blames no variation', () => {
  const { status, report } = vary('head -c 16 /dev/urandom > out');
  assert.equal(report.verdict, 'unstable');
  assert.deepEqual(report.causes, []);
  assert.equal(status, 4);
});

test('build --vary --only tries what is named, and refuses an unknown name', () => {
  const folder = project({ steps: ['uname -n > out'] });
  assert.equal(lockstep(['lock', folder, '-q']).status, 0);
  const run = lockstep(['build', folder, '--vary', '--only', 'umask,clock', '--json', '-q']);
  assert.equal(run.status, 0, run.stderr);
  assert.equal(lockstep(['build', folder, '--vary', '--only', 'weather', '-q']).status, 2);
});

test('build --vary reports a build that fails under a variation', () => {
  const folder = project({ steps: ['[ "$(uname -n)" = lockstep ]', 'echo ok > out'] });
  assert.equal(lockstep(['lock', folder, '-q']).status, 0);
  const run = lockstep(['build', folder, '--vary', '-q']);
  assert.equal(run.status, 4);
  assert.match(run.stdout, /host name/);
  assert.match(run.stdout, /the build fails: STEP_FAILED/);
});
