/**
 * One process at a time has a node's memory. Two would each judge by what only they have signed, and could sign two
 * releases of one version; their log would then have both.
 */
import { rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { createDurably } from '@lockstep/store/durable';
import { readIfThere, withLock } from '@lockstep/store/lock-file';
import { ownerLives, ownerTag } from '@lockstep/store/owner';

/** Longest wait for another process, in milliseconds: a command that asks this node ends in less. */
const PATIENCE = 5000;
const AGAIN_AFTER = 25;

/** @returns gives it back @throws LockstepError STORE_BUSY */
export async function holdAlone(path: string): Promise<() => void> {
  const tag = ownerTag();
  const until = performance.now() + PATIENCE;
  while (!createDurably(path, tag, 0o600)) {
    const held = readIfThere(path);
    if (held !== null && ownerLives(held) === false) {
      // Two that saw it must not both remove what lies there: the second would take away the first one's.
      withLock(`${path}.break`, () => {
        if (readIfThere(path) === held) rmSync(path, { force: true });
      });
    } else if (performance.now() > until)
      throw new LockstepError(
        'STORE_BUSY',
        `Process ${Number.parseInt(held ?? '0', 10)} runs this signing node (${path})`,
        'Ask that one, or end it: two with one memory could sign two releases of one version.',
      );
    else await delay(AGAIN_AFTER);
  }
  return () => {
    if (readIfThere(path) === tag) rmSync(path, { force: true });
  };
}
