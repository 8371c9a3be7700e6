import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SiloError } from '../failure.ts';
import { type Job, readJob } from './job.ts';
import { readerOf } from './read.ts';

const JOB_SCHEMA = 'lockstep-job/v1';

const sample = {
  schema: JOB_SCHEMA,
  profile: 'build',
  rootfs: { kind: 'host' },
  inputs: [{ path: 'inputs/a', target: '/inputs/a', as: 'file', strip: 0 }],
  env: { A: 'x' },
  steps: [{ name: 'make', run: 'make' }],
  outputs: [{ kind: 'files', path: '*.deb' }],
  fixed: {
    path: '/build',
    home: '/home/build',
    user: 'build',
    uid: 1000,
    gid: 1000,
    umask: 18,
    hostname: 'lockstep',
    cpus: 1,
    sourceDate: 0,
  },
  limits: { memoryMb: 64, scratchMb: 64, pids: 64, timeoutSeconds: 60, transcriptMb: 1, outputFiles: 10, outputDepth: 10, outputMb: 10 },
  ambient: { clock: null, directoryOrder: null, addressLayout: null, kernelName: null, cpuModel: null, memoryTotalMb: null, load: null },
  network: 'none',
  keepImage: null,
};

type Path = readonly (string | number)[];

function read(value: unknown): Job | SiloError {
  try {
    return readJob(readerOf(value, 'job.json'));
  } catch (error) {
    assert.ok(error instanceof SiloError && error.code === 'JOB_INVALID', `${String(error)} is not the reader's own error`);
    return error;
  }
}

function replaced(path: Path, value: unknown): unknown {
  const copy = structuredClone(sample) as Record<string | number, unknown>;
  let at = copy;
  for (const key of path.slice(0, -1)) at = at[key] as Record<string | number, unknown>;
  const last = path.at(-1) ?? '';
  if (value === undefined) delete at[last];
  else at[last] = value;
  return copy;
}

function places(value: unknown, path: (string | number)[] = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, one]) => places(one, [...path, Array.isArray(value) ? Number(key) : key]))];
}

// What this job has to say may grow: read what the reader asks for, so that the sample stays whole.
test('readJob takes the sample, and reading is idempotent', () => {
  const job = read(sample);
  assert.ok(!(job instanceof SiloError), (job as SiloError).message);
  assert.deepEqual(read({ schema: JOB_SCHEMA, ...JSON.parse(JSON.stringify(job)) }), job);
});

test('readJob asks for every key, and names the one that is missing or unknown', () => {
  for (const path of places(sample)) {
    if (path.length === 0 || path[0] === 'env' || typeof path.at(-1) === 'number') continue;
    const missing = read(replaced(path, undefined));
    assert.ok(missing instanceof SiloError, path.join('.'));
    assert.ok(missing.message.includes(String(path.at(-1))), missing.message);
    const unknown = read(replaced([...path.slice(0, -1), 'unknown'], 1));
    assert.ok(unknown instanceof SiloError && unknown.message.includes('unknown'), path.join('.'));
  }
});

for (const [path, value] of [
  [['schema'], 'lockstep-job/v2'],
  [['network'], 'host'],
  [['rootfs'], { kind: 'host', path: '/' }],
  [['rootfs'], { kind: 'directory', path: '../x' }],
  [['rootfs'], { kind: 'image', path: '/x' }],
  [['rootfs'], { kind: 'toString' }],
  [['inputs', 0, 'path'], '../x'],
  [['inputs', 0, 'path'], '/x'],
  [['inputs', 0, 'path'], 'a//b'],
  [['inputs', 0, 'path'], 'a\nb'],
  [['inputs', 0, 'target'], 'x'],
  [['inputs', 0, 'target'], '/a/../etc'],
  [['inputs', 0, 'target'], '/a\n/b'],
  [['env'], { 'A=B': 'x' }],
  [['env'], { '': 'x' }],
  [['env'], { A: 'x\0' }],
  [['env'], []],
  [['outputs', 0], { kind: 'tree', path: 'x', name: '../x' }],
  [['outputs', 0], { kind: 'tree', path: 'x', name: '..' }],
  [['outputs', 0], { kind: 'tree', path: 'x', name: 'a/b' }],
  [['fixed', 'user'], 'root:0'],
  [['fixed', 'hostname'], 'a b'],
  [['fixed', 'uid'], -1],
  [['fixed', 'uid'], 65_534],
  [['fixed', 'umask'], 0o1000],
  [['fixed', 'cpus'], 1.5],
  [['limits', 'pids'], 0],
  [['limits', 'pids'], '64'],
  [['keepImage'], 'x'],
] as const) {
  test(`readJob refuses ${path.join('.')} = ${JSON.stringify(value)}`, () => assert.ok(read(replaced(path, value)) instanceof SiloError));
}

test('readJob refuses a minus zero: it would not be written as it was read', () => {
  assert.ok(read(replaced(['fixed', 'sourceDate'], -0)) instanceof SiloError);
  assert.ok(!(read(replaced(['fixed', 'sourceDate'], 0)) instanceof SiloError));
});

test('readJob with any one value of another kind throws nothing but its own error', () => {
  const all = places(sample).filter((path) => path.length > 0);
  fc.assert(
    fc.property(fc.constantFrom(...all), fc.jsonValue({ stringUnit: 'binary' }), (path, value) => {
      const job = read(replaced(path, value));
      if (!(job instanceof SiloError)) assert.deepEqual(read({ schema: JOB_SCHEMA, ...JSON.parse(JSON.stringify(job)) }), job);
      read(value);
    }),
    { numRuns: 2000 },
  );
});
