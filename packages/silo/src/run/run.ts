/**
 * One scratch from inputs to outputs. Reads as the contract in spec/scratch.md: read the job, prepare the disk and the
 * root, stage the inputs, run the steps, look at why they ended, seal the outputs, write the result.
 */
import { spawnSync } from 'node:child_process';
import {
  chownSync,
  closeSync,
  copyFileSync,
  existsSync,
  lstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { type Failure, SiloError } from '../failure.ts';
import { cgroupVersion, type CgroupVersion, type Counted, isHybrid, joinForLoad, readCounters, sweepDeadGroups } from '../host/cgroup.ts';
import { hostFacts, hostPart } from '../host/host-part.ts';
import { findProgram, findRuntime, type RuntimeName, runtimeVersion } from '../host/runtime.ts';
import { type Job, MAX_JOB_BYTES, readJob } from '../job/job.ts';
import { readerOf } from '../job/read.ts';
import { fakeFiles } from '../plan/fakes.ts';
import { baseScript, diskScript, rootScript } from '../plan/mount-script.ts';
import { buildMount, ociConfig, type OciConfig } from '../plan/oci.ts';
import { ID_BASE, PLACE } from '../plan/place.ts';
import { stepFiles } from '../plan/steps.ts';
import { type SealedOutput, sealOutputs } from '../seal/outputs.ts';
import { stageInputs } from '../stage/inputs.ts';
import { fillUpper, makeHostSkeleton, refuseTraps } from '../stage/root.ts';
import { type ContainerEvents, type ContainerResult, deleteContainer, pipeScript, runContainer, type StepTiming } from './container.ts';
import { openTranscript, type Transcript } from './transcript.ts';

const RESULT_SCHEMA = 'lockstep-result/v1';

export interface Result {
  readonly schema: typeof RESULT_SCHEMA;
  readonly status: 'ok' | 'failed';
  readonly failure: (Failure & { readonly step: string | null; readonly exitCode: number | null }) | null;
  readonly steps: readonly StepTiming[];
  readonly outputs: readonly SealedOutput[];
  readonly transcript: { readonly size: number; readonly sha256: string } | null;
  readonly sandbox: { readonly runtime: string; readonly cgroup: CgroupVersion; readonly kernel: string } | null;
  /** Seconds since 1970 with milliseconds. */
  readonly startedOn: number;
  readonly finishedOn: number;
  readonly peakMemory: number | null;
}

export interface RunOptions {
  readonly scratch: string;
  readonly runtime: RuntimeName;
  /** pid, in the host's namespace, of the process whose death ends this run. */
  readonly owner: number;
  readonly id: string;
  readonly events: ContainerEvents;
  readonly ready: () => void;
  readonly cancelled: AbortSignal;
  readonly now: () => number;
}

/** Host programs that a run calls; `doctor` lists the same. */
const NEEDED = ['mount', 'mkfs.ext4', 'setarch', 'getfattr', 'mkfifo', 'truncate'];

export function readJobFile(scratch: string): Job {
  const path = `${scratch}/job.json`;
  if (!existsSync(path))
    throw new SiloError('JOB_INVALID', `${path} does not exist`, 'A scratch holds job.json and inputs/; see spec/scratch.md.');
  if (statSync(path).size > MAX_JOB_BYTES) throw new SiloError('JOB_INVALID', `${path} is larger than 16 MiB`, 'Name fewer inputs.');
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new SiloError(
      'JOB_INVALID',
      `job.json is not JSON: ${error instanceof Error ? error.message : String(error)}`,
      'See spec/scratch.md.',
    );
  }
  return readJob(readerOf(value, 'job.json'));
}

/** Never throws for what a job or a build does wrong: that is in the result. */
export async function run(options: RunOptions): Promise<Result> {
  const startedOn = options.now();
  const partial: { -readonly [K in keyof Result]: Result[K] } = {
    schema: RESULT_SCHEMA,
    status: 'ok',
    failure: null,
    steps: [],
    outputs: [],
    transcript: null,
    sandbox: null,
    startedOn,
    finishedOn: startedOn,
    peakMemory: null,
  };
  try {
    await runJob(options, partial);
  } catch (error) {
    partial.status = 'failed';
    const last = partial.steps.at(-1);
    partial.failure = {
      ...(options.cancelled.aborted ? cancelled() : toSiloError(error)).toFailure(),
      step: last?.name ?? null,
      exitCode: last?.exitCode ?? null,
    };
    partial.outputs = [];
  }
  partial.finishedOn = options.now();
  writeResult(options.scratch, partial);
  return partial;
}

/** Whatever fails while a run is being cancelled fails because of that: helpers of ours got the same signal. */
function cancelled(): SiloError {
  return new SiloError('CANCELLED', 'The build was cancelled', 'Run it again.');
}

/** What the operating system refused, in the terms of the contract; anything else is a fault of this program, and says so. */
function toSiloError(error: unknown): SiloError {
  if (error instanceof SiloError) return error;
  const code = error instanceof Error && 'code' in error ? error.code : '';
  const message = error instanceof Error ? error.message : String(error);
  if (code === 'EEXIST' || code === 'ENOTDIR' || code === 'EISDIR')
    return new SiloError('JOB_INVALID', `Two inputs or outputs meet at one place: ${message}`, 'Give each input a target of its own.');
  if (code === 'ENOSPC')
    return new SiloError('DISK_FULL', `There is no room: ${message}`, 'Raise resources.scratch_mb, or free space on the host.');
  if (code === 'ELOOP')
    return new SiloError('OUTPUT_REFUSED', `A symbolic link stands where a file is wanted: ${message}`, 'Make it a regular file.');
  return new SiloError(
    'SANDBOX_FAILED',
    `A fault of the silo: ${error instanceof Error ? (error.stack ?? message) : message}`,
    'Report this.',
  );
}

async function runJob(options: RunOptions, result: { -readonly [K in keyof Result]: Result[K] }): Promise<void> {
  const { scratch } = options;
  rmSync(`${scratch}/result.json`, { force: true });
  rmSync(`${scratch}/transcript`, { force: true });
  rmSync(`${scratch}/outputs`, { recursive: true, force: true });
  const job = readJobFile(scratch);
  const version = cgroupVersion();
  const runtime = findRuntime(options.runtime);
  refuseMissingPrograms(job);
  const runtimeName = runtimeVersion(runtime);
  const kernel = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim();
  sweepDeadGroups(isAliveOnHost);
  if (runtime.name === 'crun' && isHybrid()) sh('umount /sys/fs/cgroup/unified', 'SANDBOX_FAILED');
  const config = prepare(options, job, version);
  mkdirSync(`${scratch}/outputs`, { mode: 0o755 });
  const transcript = openTranscript(`${scratch}/transcript`, job.limits.transcriptMb * (1 << 20));
  let removed: Promise<void> = Promise.resolve();
  try {
    options.ready();
    if (job.steps.length > 0) {
      const ended = await runContainer(runtime, options.id, job, transcript, options.events, options.cancelled, (pid) =>
        joinForLoad(version, String(config.linux['cgroupsPath']), pid),
      );
      result.steps = ended.steps;
      const counted =
        ended.steps.length > 0 ? readCounters(version, String(config.linux['cgroupsPath'])) : { oomKills: 0, peakMemory: null };
      // Every process is gone, and the counters are read: the runtime can tidy up while the outputs are sealed.
      removed = deleteContainer(runtime, options.id);
      result.peakMemory = counted.peakMemory;
      judge(ended, job, counted, transcript);
    }
    const place = {
      work: toHostPath(job)(job.fixed.path) ?? PLACE.work,
      rootfs: PLACE.root,
      outputs: `${scratch}/outputs`,
      sourceDate: job.fixed.sourceDate,
    };
    result.outputs = sealOutputs(job.outputs, place, job.limits);
  } finally {
    result.transcript = transcript.close();
    result.sandbox = { runtime: await runtimeName, cgroup: version, kernel };
    await removed;
  }
  if (job.keepImage !== null || (job.rootfs.kind === 'image' && job.rootfs.writable)) sh('sync', 'SANDBOX_FAILED');
}

/** Everything up to the first instruction of the build. */
function prepare(options: RunOptions, job: Job, version: CgroupVersion): OciConfig {
  const config = ociConfig(job, hostPart(job, version, options.owner, options.id));
  mkdirSync(dirname(PLACE.lower), { recursive: true, mode: 0o711 });
  const disk = `${options.scratch}/disk.img`;
  rmSync(disk, { force: true });
  // First of all, /proc becomes that of our own pid namespace: a runtime checks it, and nothing of the host is needed any more.
  sh(['mount -t proc -o nosuid,nodev,noexec proc /proc', baseScript(), pipeScript(), diskScript(job, disk)].join('\n'), 'HOST_CANNOT');
  // Unlinked while mounted: however this ends, the space is given back with the last mount.
  rmSync(disk);
  if (job.rootfs.kind === 'host') makeHostSkeleton();
  const writable = job.rootfs.kind === 'image' && job.rootfs.writable;
  refuseTraps(config, writable ? PLACE.root : PLACE.lower);
  for (const fake of fakeFiles(job, hostFacts())) {
    const path = `${PLACE.fakes}/${fake.name}`;
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    writeFileSync(path, fake.content, { mode: 0o444 });
  }
  if (job.ambient.clock !== null) placeClock(options, job.ambient.clock);
  for (const file of stepFiles(job)) writeFileSync(`${PLACE.steps}/${file.name}`, file.content, { mode: 0o444 });
  const owner = { uid: ID_BASE + job.fixed.uid, gid: ID_BASE + job.fixed.gid };
  for (const path of [PLACE.work, PLACE.home]) chownSync(path, owner.uid, owner.gid);
  stageInputs(options.scratch, job, owner, toHostPath(job));
  const work = toHostPath(job)(job.fixed.path);
  if (work !== null && !existsSync(work)) {
    mkdirSync(work, { recursive: true });
    for (let at = work; at !== PLACE.work && at.length > PLACE.work.length; at = dirname(at)) chownSync(at, owner.uid, owner.gid);
  }
  if (!writable) fillUpper(config, job);
  sh(rootScript(job, bindList(options.scratch, job)), 'HOST_CANNOT');
  writeFileSync(`${PLACE.bundle}/config.json`, JSON.stringify(config));
  return config;
}

/** The clock of the build starts when the sandbox is about to: what lies before keeps its time. */
function placeClock(options: RunOptions, clock: NonNullable<Job['ambient']['clock']>): void {
  const library = `${options.scratch}/${clock.library}`;
  if (!existsSync(library))
    throw new SiloError('INPUT_MISSING', `The clock library ${clock.library} is not in the scratch`, 'Stage it, or leave the clock alone.');
  copyFileSync(library, `${PLACE.clock}/clock.so`);
  const start = BigInt(Math.floor(options.now() * 1000)) * 1_000_000n;
  writeFileSync(`${PLACE.clock}/clock`, `${start} ${BigInt(clock.startAt) * 1_000_000_000n} ${clock.slowdown}\n`, { mode: 0o444 });
}

function bindList(scratch: string, job: Job): { from: string; to: string }[] {
  return job.inputs
    .filter((input) => input.as === 'bind')
    .map((input) => {
      const from = `${scratch}/${input.path}`;
      const to = `${PLACE.fakes}/inputs/${input.path}`;
      if (!existsSync(from))
        throw new SiloError('INPUT_MISSING', `The input ${input.path} is not in the scratch`, 'Stage every input that job.json names.');
      const stat = lstatSync(from);
      if (stat.isSymbolicLink())
        throw new SiloError('JOB_INVALID', `The input ${input.path} is a symbolic link`, 'Stage the thing itself.');
      if (stat.isDirectory()) mkdirSync(to, { recursive: true });
      else {
        mkdirSync(dirname(to), { recursive: true });
        writeFileSync(to, '');
      }
      return { from, to };
    });
}

/** Inside path → path on the sandbox's disk. */
function toHostPath(job: Job): (target: string) => string | null {
  const mount = buildMount(job);
  return (target) => {
    if (target === mount || target.startsWith(`${mount}/`)) return PLACE.work + target.slice(mount.length);
    if (target === job.fixed.home || target.startsWith(`${job.fixed.home}/`)) return PLACE.home + target.slice(job.fixed.home.length);
    return null;
  };
}

function refuseMissingPrograms(job: Job): void {
  const needed = [...NEEDED, ...(job.ambient.directoryOrder === null ? [] : ['disorderfs'])];
  const missing = needed.filter((name) => findProgram(name) === null);
  if (missing.length > 0)
    throw new SiloError(
      'HOST_CANNOT',
      `These programs are missing: ${missing.join(', ')}`,
      'Run "lockstep doctor" for the packages to install.',
    );
}

/** Why it ended, in the order in which a person should hear of it. */
function judge(ended: ContainerResult, job: Job, counted: Counted, transcript: Transcript): void {
  const started = ended.steps.length > 0;
  const last = ended.steps.at(-1)?.name ?? '';
  if (ended.ending === 'cancelled') throw cancelled();
  if (ended.ending === 'timed-out')
    throw new SiloError(
      'TIMED_OUT',
      `The build took longer than ${job.limits.timeoutSeconds} s, in the step "${last}"`,
      'Raise resources.timeout, or find out what hangs.',
    );
  if (ended.ending === 'transcript-full')
    throw new SiloError(
      'TRANSCRIPT_TOO_LARGE',
      `The build printed more than ${job.limits.transcriptMb} MiB, in the step "${last}"`,
      'Print less, or raise resources.transcript_mb.',
    );
  if (counted.oomKills > 0) {
    throw new SiloError(
      'OUT_OF_MEMORY',
      `The kernel killed ${counted.oomKills} of the build's processes for want of memory (${job.limits.memoryMb} MiB), in the step "${last}"`,
      'Raise resources.memory_mb.',
    );
  }
  if (ended.exitCode === 0) return;
  if (!started)
    throw new SiloError(
      'SANDBOX_FAILED',
      `The sandbox did not start: ${ended.runtimeMessage || `the runtime ended with ${ended.exitCode}`}`,
      'Run "lockstep doctor"; if it is the environment, check that it has /bin/sh.',
    );
  const free = statfsSync(PLACE.disk);
  if (free.bavail * free.bsize < 1 << 20 || transcript.sawDiskFull()) {
    throw new SiloError(
      'DISK_FULL',
      `The build filled its disk of ${job.limits.scratchMb} MiB, in the step "${last}"`,
      'Raise resources.scratch_mb.',
    );
  }
  throw new SiloError(
    'STEP_FAILED',
    `The step "${last}" ended with status ${ended.exitCode}`,
    'Read the end of the transcript; the build itself failed, not the farm.',
  );
}

function sh(script: string, code: 'HOST_CANNOT' | 'SANDBOX_FAILED'): void {
  const done = spawnSync('/bin/sh', ['-eu', '-c', script], { encoding: 'utf8', env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } });
  if (done.status === 0) return;
  const said = (done.stderr ?? done.error?.message ?? '').trim().slice(0, 500);
  throw new SiloError(
    code,
    `Preparing the sandbox failed: ${said}`,
    'The silo needs root, loop devices, ext4 and overlayfs; run "lockstep doctor".',
  );
}

/** The launcher leaves the host's /proc mounted until we have looked at it. */
function isAliveOnHost(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

function writeResult(scratch: string, result: Result): void {
  const path = `${scratch}/result.json`;
  writeFileSync(`${path}.part`, `${JSON.stringify(result, null, 1)}\n`, { mode: 0o644 });
  const fd = openSync(`${path}.part`, 'r');
  fsyncSync(fd);
  closeSync(fd);
  renameSync(`${path}.part`, path);
}
