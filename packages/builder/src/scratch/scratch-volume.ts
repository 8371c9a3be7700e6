/**
 * The scratch of one build, on a volume whose key is made for it and thrown away with it. Such a volume is mounted in a
 * namespace of its own: no other program of this host comes upon it by its path. We reach it through the supervisor's
 * `/proc/PID/root`, and the silo is started inside. Outputs that are kept leave it for the content store.
 */
import { realpathSync, truncateSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { type Context, step } from '../context.ts';
import { findOnPath } from '../fetch/program.ts';
import type { SiloView } from '../silo/run-silo.ts';
import { type HostFacts, readHostFacts, refusalOf } from './host-support.ts';
import { luksHeader, PAYLOAD_BYTES } from './luks-header.ts';
import { SECRET_KINDS, type SecretKind } from './scratch-kind.ts';
import { supervise } from './supervisor.ts';
import { newVolumeKey } from './volume-key.ts';
import { SCRATCH_WITHIN, volumeScript } from './volume-script.ts';

export interface Scratch {
  readonly kind: 'plain' | SecretKind;
  /** Where we write inputs and read outputs. Has an empty folder `inputs`. */
  readonly path: string;
  /** The same, for the silo. */
  readonly silo: SiloView;
  /** Nothing is left when it resolves; if this process dies before, nothing is left either. */
  destroy(): Promise<void>;
}

/** Who needs a scratch: a part of the context, so that the doctor can ask for kinds that are not set. */
type Owner = Pick<Context, 'store' | 'cancelled'>;

/**
 * A scratch of the kind that is set. Fails rather than make a lesser one.
 * @param sizeMb room for everything that can come to lie in it; nothing of it is taken before it is used
 * @throws LockstepError HOST_CANNOT, CANCELLED
 */
export async function openScratch(context: Context, sizeMb: number, host: HostFacts = readHostFacts()): Promise<Scratch> {
  const kind = context.settings.scratch;
  if (kind === 'plain') return plainScratch(context);
  return step(context, 'make a secret scratch', async (item) => {
    const scratch = await (kind === 'auto' ? bestScratch(context, sizeMb, host) : secretScratch(context, kind, sizeMb, host));
    item.update(scratch.kind);
    return scratch;
  });
}

function plainScratch({ store }: Owner): Scratch {
  const path = store.newScratch();
  return {
    kind: 'plain',
    path,
    silo: { enter: [], path },
    async destroy() {
      store.dropScratch(path);
    },
  };
}

async function bestScratch(owner: Owner, sizeMb: number, host: HostFacts): Promise<Scratch> {
  const refusals: string[] = [];
  for (const kind of SECRET_KINDS) {
    try {
      return await secretScratch(owner, kind, sizeMb, host);
    } catch (error) {
      if (!(error instanceof LockstepError) || error.code !== 'HOST_CANNOT') throw error;
      refusals.push(`${error.message} (${error.hint})`);
    }
  }
  throw new LockstepError(
    'HOST_CANNOT',
    `No kind of secret scratch works here: ${refusals.join('; ')}`,
    'Make one of them work, or accept LOCKSTEP_SCRATCH=plain.',
  );
}

/** @throws LockstepError HOST_CANNOT, CANCELLED */
export async function secretScratch(owner: Owner, kind: SecretKind, sizeMb: number, host: HostFacts): Promise<Scratch> {
  const refusal = refusalOf(kind, sizeMb, host);
  if (refusal !== null) throw new LockstepError('HOST_CANNOT', `A scratch of kind ${kind}: ${refusal.reason}`, refusal.remedy);
  // Swept by the store if we die: by then it holds an empty folder and an empty file.
  const folder = owner.store.newScratch();
  try {
    // Without symbolic links: an absolute one, met on the way through /proc/PID/root, would lead back out of it.
    const real = realpathSync(folder);
    const key = newVolumeKey();
    if (kind === 'qemu-luks') {
      writeFileSync(`${real}/image`, luksHeader(key), { mode: 0o600 });
      truncateSync(`${real}/image`, PAYLOAD_BYTES + sizeMb * (1 << 20));
    }
    const supervisor = await supervise(volumeScript(kind), [String(sizeMb), basename(folder)], real, key, owner.cancelled);
    const inside = `${real}/${SCRATCH_WITHIN}`;
    return {
      kind,
      path: `/proc/${supervisor.pid}/root${inside}`,
      silo: { enter: [findOnPath('nsenter') ?? 'nsenter', `--mount=/proc/${supervisor.pid}/ns/mnt`, '--'], path: inside },
      async destroy() {
        await supervisor.end();
        owner.store.dropScratch(folder);
      },
    };
  } catch (error) {
    owner.store.dropScratch(folder);
    throw error;
  }
}
