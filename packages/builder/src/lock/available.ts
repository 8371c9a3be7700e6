/** What a manifest may ask for, but this version cannot do yet. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Manifest } from '@lockstep/protocol/manifest/manifest';

export function refuseUnavailable(manifest: Manifest): void {
  if (manifest.tier === 'vm') {
    throw new LockstepError(
      'TIER_UNAVAILABLE',
      'tier = "vm" is not available yet, and a container is not a substitute for it',
      'Use tier = "container" for source that you trust, or wait for the virtual-machine tier.',
    );
  }
}
