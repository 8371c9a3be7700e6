/** s6's notification descriptor (s6-supervise, "notification-fd"): one line when it serves. */
import { closeSync, writeSync } from 'node:fs';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';

/** @throws LockstepError USAGE */
export function tellReady(descriptor: string | undefined): void {
  if (descriptor === undefined) return;
  if (!/^[1-9][0-9]{0,3}$/.test(descriptor))
    throw new LockstepError('USAGE', `--ready-fd ${descriptor} is no descriptor`, 'Give its number, as s6 does.');
  writeSync(Number(descriptor), '\n');
  closeSync(Number(descriptor));
}
