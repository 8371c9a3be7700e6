/** Assembles an environment into an image, inside the sandbox, and records the digest of the tree. */
import { renameSync, rmSync } from 'node:fs';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { LockedEnvironment } from '@lockstep/protocol/lock/lock';
import { syncFolder, temporaryName, writeDurably } from '@lockstep/store/durable';
import { type Context, type ProgressItem, step } from '../context.ts';
import type { SiloJob } from '../silo/job.ts';
import { failureError, runSilo, transcriptTail } from '../silo/run-silo.ts';
import { debName, installJob, unpackJob } from './debian.ts';
import { ensurePackages } from './packages.ts';
import { ensureRootfs, rootfsJob } from './rootfs.ts';

export async function assemble(
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
