/** Compiles the clock library inside the sandbox: by the environment's own compiler, else by the host's. Kept per environment. */
import { rmSync, writeFileSync } from 'node:fs';
import { isSha256, type Sha256, sha256Hex } from '@lockstep/protocol/digest/digest';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type Context, step } from '../context.ts';
import type { PreparedEnvironment } from '../environment/prepare.ts';
import { CLOCK_INPUT } from '../build/job.ts';
import { NO_VARIATION, ownJob, type SiloJob } from '../silo/job.ts';
import { runSilo } from '../silo/run-silo.ts';
import { CLOCK_SHIM_SOURCE } from './clock-shim.ts';

/** What is kept where it cannot be had. */
const NONE = 'none';
const COMPILE = 'cc -shared -fPIC -O2 -fno-builtin -o clock.so /inputs/clock.c';

/** @returns null where no C compiler is to be had */
export async function clockLibrary(context: Context, environment: PreparedEnvironment): Promise<Sha256 | null> {
  const key = sha256Hex(toUtf8(`${CLOCK_SHIM_SOURCE}\0${environment.sha256 ?? 'host'}`));
  const cell = `clock-${key}`;
  const old = context.store.cells.get(cell);
  if (old !== null && isSha256(old) && context.store.blobs.has(old)) return old;
  if (old === NONE) return null;
  const places: SiloJob['rootfs'][] = environment.rootfs.kind === 'host' ? [{ kind: 'host' }] : [environment.rootfs, { kind: 'host' }];
  return step(context, 'compile the clock library', async () => {
    for (const rootfs of places) {
      const made = await compile(context, rootfs);
      if (made === null || !(await works(context, environment.rootfs, made))) continue;
      context.store.cells.swap(cell, old, made);
      return made;
    }
    // Not tried again for each build in the same environment.
    context.store.cells.swap(cell, old, NONE);
    return null;
  });
}

/** A C library that ignores /etc/ld.so.preload (musl) would make the variation a pretence. */
async function works(context: Context, rootfs: SiloJob['rootfs'], library: Sha256): Promise<boolean> {
  const scratch = context.store.newScratch();
  try {
    context.store.blobs.materialise(library, `${scratch}/${CLOCK_INPUT}`);
    const job = ownJob({ profile: 'build', rootfs, steps: [{ name: 'date', run: '[ "$(date +%s)" -lt 1000100000 ]' }], outputs: [] });
    const result = await runSilo(
      context,
      scratch,
      { ...job, ambient: { ...NO_VARIATION, clock: { library: CLOCK_INPUT, startAt: 1_000_000_000, slowdown: 1 } } },
      null,
    );
    return result.failure === null;
  } finally {
    context.store.dropScratch(scratch);
  }
}

async function compile(context: Context, rootfs: SiloJob['rootfs']): Promise<Sha256 | null> {
  const scratch = context.store.newScratch();
  try {
    rmSync(`${scratch}/inputs/clock.c`, { force: true });
    writeFileSync(`${scratch}/inputs/clock.c`, CLOCK_SHIM_SOURCE);
    const job = ownJob({
      profile: 'build',
      rootfs,
      inputs: [{ path: 'inputs', target: '/inputs', as: 'bind', strip: 0 }],
      steps: [{ name: 'cc', run: COMPILE }],
      outputs: [{ kind: 'files', path: 'clock.so' }],
    });
    const result = await runSilo(context, scratch, job, null);
    if (result.failure !== null && result.failure.code !== 'STEP_FAILED')
      throw new LockstepError('HOST_CANNOT', result.failure.message, result.failure.hint, { reason: result.failure.code });
    return result.failure === null ? context.store.blobs.adopt(`${scratch}/outputs/clock.so`) : null;
  } finally {
    context.store.dropScratch(scratch);
  }
}
