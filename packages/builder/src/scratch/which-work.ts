/** Which kinds of secret scratch work here: each is made once, small, since a list of programs proves nothing. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Context } from '../context.ts';
import { readHostFacts } from './host-support.ts';
import { SECRET_KINDS, type SecretKind } from './scratch-kind.ts';
import { secretScratch } from './scratch-volume.ts';

export interface KindTrial {
  readonly kind: SecretKind;
  readonly works: boolean;
  /** Why not, and what to do about it; else how long it took to make one. */
  readonly detail: string;
}

/** Large enough for ext4 and a LUKS header. */
const TRIAL_MB = 64;

export function tryKinds(context: Context): Promise<KindTrial[]> {
  return Promise.all(
    SECRET_KINDS.map(async (kind): Promise<KindTrial> => {
      const start = performance.now();
      try {
        const scratch = await secretScratch(context, kind, TRIAL_MB, readHostFacts());
        const detail = `${((performance.now() - start) / 1000).toFixed(1)} s`;
        await scratch.destroy();
        return { kind, works: true, detail };
      } catch (error) {
        if (!(error instanceof LockstepError) || error.code !== 'HOST_CANNOT') throw error;
        return { kind, works: false, detail: `${error.message}: ${error.hint}` };
      }
    }),
  );
}
