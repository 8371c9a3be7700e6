/** A large input up into a farm and down to a builder again, on a folder and on S3, beside what the host's own tools do with the same file. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { rmSync, statSync } from 'node:fs';
import { uploadFile } from '@lockstep/builder/node/upload';
import { radosgwMissing, type Radosgw, startRadosgw } from '../../e2e/radosgw.ts';
import { tracked } from '../children.ts';
import { type FigureRow, figureRow, type Meter, meterSideBySide } from '../figures.ts';
import { builderlessFarm, connectBuilder, type Connected, connectSubmitter, giveBack, leaseOne, oneDefinition } from '../held-lease.ts';
import { BenchError, type Checkpoint } from '../measure.ts';
import type { Place } from '../place.ts';
import { type FarmPlan, type RunningFarm, runFarm, startFarm } from '../running-farm.ts';

/** In MiB; on S3, whose double keeps everything in memory, a quarter of it. */
const SIZE = Number(process.env['LOCKSTEP_BENCH_STORAGE_MIB'] ?? 4096);
const WARM_UP = 64;

interface TestFile {
  readonly path: string;
  readonly sha256: string;
  readonly size: number;
}

export async function farmStorage(place: Place, runs: number, checkpoint: Checkpoint): Promise<FigureRow[]> {
  const folder = place.folder('farm-storage');
  const missing = radosgwMissing();
  if (missing !== null) process.stderr.write(`  ${missing}\n`);
  const gateway = missing === null ? await startRadosgw() : null;
  try {
    const onFolder = builderlessFarm(place.folder('farm-storage/folder'));
    const onS3 = gateway === null ? null : s3Farm(place.folder('farm-storage/s3'), gateway);
    const label = (mebibytes: number): string => (mebibytes % 1024 === 0 ? `${mebibytes / 1024} GiB` : `${mebibytes} MiB`);
    const meters: Meter[] = [
      { name: `the farm, storage in a folder, ${label(SIZE)}`, take: farmMeter(onFolder, folder, SIZE, checkpoint) },
      {
        name: `the farm, storage in S3 (radosgw, in memory), ${label(SIZE / 4)}`,
        take: onS3 === null ? null : farmMeter(onS3, folder, SIZE / 4, checkpoint),
      },
      ...[SIZE, SIZE / 4].map((size): Meter => ({ name: `\`cp\` and \`sync\`; \`cat\`; ${label(size)}`, take: copyMeter(folder, size) })),
      { name: `\`sha256sum\`, ${label(SIZE)}`, take: hashMeter(folder, SIZE) },
    ];
    const metered = await meterSideBySide(meters, runs, checkpoint);
    return [
      figureRow('An input into the farm over HTTPS, in parts of 16 MiB, hashed twice and durable', 'MB/s', metered, 'up'),
      figureRow('… of which hashing the whole and putting it together', 's', farmsOf(metered), 'finish'),
      figureRow('… CPU time of the farm’s process for it', 's', farmsOf(metered), 'cpuUp'),
      figureRow('The same out of the farm by a builder’s input route, hashed by the reader', 'MB/s', metered, 'down'),
      figureRow('… peak resident memory of the farm’s process', 'MiB', farmsOf(metered), 'peak'),
    ];
  } finally {
    await gateway?.stop();
    place.drop(folder);
  }
}

const farmsOf = <T extends { readonly name: string }>(metered: readonly T[]): T[] =>
  metered.filter(({ name }) => name.startsWith('the farm'));

function s3Farm(folder: string, { bucket, endpoint, accessKey, secretKey }: Radosgw): FarmPlan {
  const storage = `storage = "s3://${bucket}/bench?endpoint=${endpoint}"`;
  return {
    ...builderlessFarm(folder, (text) => text.replace(/^storage = .*$/m, storage)),
    env: { AWS_ACCESS_KEY_ID: accessKey, AWS_SECRET_ACCESS_KEY: secretKey },
  };
}

/** A new process for each run: its peak is of this run. */
function farmMeter(plan: FarmPlan, folder: string, size: number, checkpoint: Checkpoint): NonNullable<Meter['take']> {
  return async (run) => {
    const farm = run === 0 ? await startFarm(plan) : await runFarm(plan);
    const file = await makeFile(folder, run === 0 ? WARM_UP : size, run);
    const open: Connected[] = [];
    try {
      const submitter = await connectSubmitter(farm, `submitter-${run}`);
      open.push(submitter);
      const up = await upload(farm, submitter, file);
      await checkpoint();
      const builder = await connectBuilder(farm);
      open.push(builder);
      const down = await readBack(submitter, builder, file, `large-${run}`);
      return { ...up, down, peak: farm.memory().peak / 2 ** 20 };
    } finally {
      for (const one of open) one.close();
      await farm.stop();
      rmSync(file.path, { force: true });
    }
  };
}

async function upload(farm: RunningFarm, { client }: Connected, { path, sha256, size }: TestFile): Promise<Record<string, number>> {
  const [before, cpu] = [performance.now(), farm.cpu()];
  const params = { sha256 };
  let finishing = 0;
  await uploadFile(path, {
    state: () => client.call('inputState', { params }),
    putPart: (part, bytes) => client.call('putInputPart', { params: { sha256, part }, body: bytes }),
    async finish(total, parts) {
      const from = performance.now();
      await client.call('finishInput', { params, body: { size: total, parts: [...parts] } });
      finishing = performance.now() - from;
    },
  });
  return { up: rate(size, before), finish: finishing / 1000, cpuUp: farm.cpu() - cpu };
}

async function readBack(submitter: Connected, builder: Connected, file: TestFile, name: string): Promise<number> {
  const lease = await leaseOne(submitter.client, builder.client, oneDefinition(name, file));
  const before = performance.now();
  const params = { attempt: String(lease.attempt), sha256: file.sha256 };
  const response = await builder.client.call('input', { params, headers: lease.headers });
  const hash = createHash('sha256');
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) hash.update(chunk);
  const down = rate(file.size, before);
  if (hash.digest('hex') !== file.sha256) throw new BenchError('the farm gave other bytes back');
  await giveBack(builder.client, lease);
  return down;
}

function copyMeter(folder: string, mebibytes: number): NonNullable<Meter['take']> {
  return async (run) => {
    const file = await makeFile(folder, run === 0 ? WARM_UP : mebibytes, run);
    const copy = `${file.path}.copy`;
    try {
      const before = performance.now();
      await sh('cp --reflink=never "$0" "$1" && sync "$1"', file.path, copy);
      const up = rate(file.size, before);
      const from = performance.now();
      await sh('cat "$0" | cat > /dev/null', copy);
      return { up, down: rate(file.size, from) };
    } finally {
      for (const path of [file.path, copy]) rmSync(path, { force: true });
    }
  };
}

function hashMeter(folder: string, mebibytes: number): NonNullable<Meter['take']> {
  return async (run) => {
    const { path, size } = await makeFile(folder, run === 0 ? WARM_UP : mebibytes, run);
    try {
      const before = performance.now();
      await sh('sha256sum "$0"', path);
      const hashed = rate(size, before);
      return { up: hashed, down: hashed };
    } finally {
      rmSync(path, { force: true });
    }
  };
}

/** Nothing in it repeats, so nothing can be left out; the same for the same run, and in the page cache for everybody. */
async function makeFile(folder: string, mebibytes: number, run: number): Promise<TestFile> {
  const path = `${folder}/file-${run}`;
  const key = String(run).padStart(32, '0');
  const cipher = `openssl enc -aes-128-ctr -nosalt -K ${key} -iv ${'0'.repeat(32)}`;
  const said = await sh(`head -c ${mebibytes}M /dev/zero | ${cipher} > "$0" && sync "$0" && sha256sum "$0"`, path);
  return { path, sha256: said.slice(0, 64), size: statSync(path).size };
}

/** Megabytes a second. */
function rate(bytes: number, since: number): number {
  return bytes / 1000 / (performance.now() - since);
}

/** Not synchronous: a signal is heard meanwhile. @returns what it printed */
async function sh(script: string, ...args: readonly string[]): Promise<string> {
  const child = tracked(spawn('/bin/sh', ['-euc', script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] }));
  let said = '';
  child.stdout.on('data', (part: Buffer) => (said += part.toString('latin1')));
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (status !== 0) throw new BenchError(`status ${status}: ${script}`);
  return said;
}
