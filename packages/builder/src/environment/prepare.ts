/** Prepares an environment once per lock digest and keeps it as a read-only image; every later build mounts it. */
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { isSha256, type Sha256, sha256Hex } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { canonicalBytes } from '@lockstep/protocol/json/canonical';
import { type Json, parseJson } from '@lockstep/protocol/json/parse';
import type { LockedEnvironment } from '@lockstep/protocol/lock/lock';
import { syncFolder, temporaryName, writeDurably } from '@lockstep/store/durable';
import { type Context, type ProgressItem, step } from '../context.ts';
import type { SiloJob } from '../silo/job.ts';
import { failureError, runSilo, transcriptTail } from '../silo/run-silo.ts';
import { debName, installJob, unpackJob } from './debian.ts';
import { ensurePackages } from './packages.ts';
import { ensureRootfs, rootfsJob } from './rootfs.ts';

/** How the assembly works: raised when the same packages would give another tree. */
const ASSEMBLY = 1;

export interface PreparedEnvironment {
  readonly rootfs: SiloJob['rootfs'];
  /** SHA-256 of the whole root file system as a canonical tar; null for the host. */
  readonly sha256: Sha256 | null;
}

export function environmentKey(environment: LockedEnvironment): Sha256 {
  return sha256Hex(canonicalBytes(JSON.parse(JSON.stringify({ assembly: ASSEMBLY, environment })) as Json));
}

export async function prepareEnvironment(context: Context, environment: LockedEnvironment): Promise<PreparedEnvironment> {
  if (environment.kind === 'host') return { rootfs: { kind: 'host' }, sha256: null };
  const key = environmentKey(environment);
  const image = `${context.store.environments}/${key}.ext4`;
  const record = `${context.store.environments}/${key}.json`;
  if (!existsSync(image) || !existsSync(record)) await assemble(context, environment, image, record);
  const parsed = parseJson(readFileSync(record), record);
  const sha256 = typeof parsed === 'object' && parsed !== null && 'sha256' in parsed ? parsed['sha256'] : null;
  if (typeof sha256 !== 'string' || !isSha256(sha256))
    throw new LockstepError(
      'STORE_CORRUPT',
      `${record} is not a record of an environment`,
      `Delete it and ${image}; the environment is then assembled again.`,
    );
  return { rootfs: { kind: 'image', path: image, writable: false }, sha256 };
}

async function assemble(
  context: Context,
  environment: Exclude<LockedEnvironment, { kind: 'host' }>,
  image: string,
  record: string,
): Promise<void> {
  const part = temporaryName(image);
  const scratch = context.store.newScratch();
  try {
    if (environment.kind === 'debian') {
      await step(context, 'fetch packages', (item) => ensurePackages(context, environment, item));
      for (const one of environment.packages) context.store.blobs.materialise(one.sha256 as Sha256, `${scratch}/inputs/${debName(one)}`);
    } else {
      await step(context, 'fetch root file system', () => ensureRootfs(context, environment));
      context.store.blobs.materialise(environment.sha256 as Sha256, `${scratch}/inputs/rootfs`);
    }
    const sha256 = await step(context, `assemble the environment in the sandbox`, async (item) => {
      const jobs =
        environment.kind === 'debian' ? [unpackJob(environment, part), installJob(environment, part)] : [rootfsJob(part), digestJob(part)];
      let digest: string | undefined;
      for (const job of jobs) digest = await runStage(context, scratch, job, item);
      return digest;
    });
    if (sha256 === undefined)
      throw new LockstepError(
        'ENVIRONMENT_FAILED',
        'The assembled environment has no digest',
        'Report this; it is a fault of the program.',
      );
    renameSync(part, image);
    syncFolder(context.store.environments);
    writeDurably(record, `${JSON.stringify({ sha256 })}\n`);
  } finally {
    rmSync(part, { force: true });
    context.store.dropScratch(scratch);
  }
}

async function runStage(context: Context, scratch: string, job: SiloJob, item: ProgressItem): Promise<string | undefined> {
  const result = await runSilo(context, scratch, job, item);
  if (result.failure !== null)
    throw failureError(
      'ENVIRONMENT_FAILED',
      'The environment could not be assembled',
      result.failure,
      transcriptTail(scratch, 2000).toString('utf8'),
    );
  return result.outputs[0]?.sha256;
}

/** Only looks at what was unpacked: a foreign root file system runs nothing before it is used. */
function digestJob(image: string): SiloJob {
  const job = installJob({ kind: 'debian', distribution: 'none', suite: 'none', architecture: 'none', packages: [] }, image);
  return { ...job, steps: [], inputs: [] };
}
