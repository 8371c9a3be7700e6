/** Prepares an environment once per lock digest and keeps it as a read-only image; every later build mounts it. */
import { existsSync, readFileSync } from 'node:fs';
import { isSha256, type Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parseJson } from '@lockstep/protocol/json/parse';
import type { LockedEnvironment } from '@lockstep/protocol/lock/lock';
import type { Context } from '../context.ts';
import type { SiloJob } from '../silo/job.ts';
import { environmentKey } from './environment-key.ts';

export interface PreparedEnvironment {
  readonly rootfs: SiloJob['rootfs'];
  /** SHA-256 of the whole root file system as a canonical tar; null for the host. */
  readonly sha256: Sha256 | null;
}

export async function prepareEnvironment(context: Context, environment: LockedEnvironment): Promise<PreparedEnvironment> {
  if (environment.kind === 'host') return { rootfs: { kind: 'host' }, sha256: null };
  const key = environmentKey(environment);
  const image = `${context.store.environments}/${key}.ext4`;
  const record = `${context.store.environments}/${key}.json`;
  if (!existsSync(image) || !existsSync(record)) {
    const { assemble } = await import('./assemble.ts');
    await assemble(context, environment, image, record);
  }
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
