/** What a build would do, as data: the job, and the silo's own plan for it. Nothing is mounted or run. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { buildId, type Definition } from '@lockstep/protocol/definition/definition';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Json } from '@lockstep/protocol/json/parse';
import type { Context } from '../context.ts';
import { environmentKey } from '../environment/environment-key.ts';
import { refuseUnavailable } from '../lock/available.ts';
import type { SiloJob } from '../silo/job.ts';
import { jobOf, NORMAL } from './job.ts';

export function planBuild(context: Context, definition: Definition): Json {
  refuseUnavailable(definition.manifest);
  const { environment } = definition.lock;
  const rootfs: SiloJob['rootfs'] =
    environment.kind === 'host'
      ? { kind: 'host' }
      : { kind: 'image', path: `${context.store.environments}/${environmentKey(environment)}.ext4`, writable: false };
  const scratch = context.store.newScratch();
  try {
    writeFileSync(`${scratch}/job.json`, JSON.stringify(jobOf(definition, rootfs, NORMAL)));
    const run = spawnSync(context.settings.silo, ['plan', scratch], {
      encoding: 'utf8',
      maxBuffer: 64 << 20,
      env: { PATH: '/usr/bin:/bin', LOCKSTEP_NODE: process.execPath },
    });
    if (run.status !== 0) throw new LockstepError('HOST_CANNOT', run.stderr.trim(), 'Run "lockstep doctor".');
    return { buildId: buildId(definition), ...(JSON.parse(run.stdout) as { readonly [key: string]: Json }) };
  } finally {
    context.store.dropScratch(scratch);
  }
}
