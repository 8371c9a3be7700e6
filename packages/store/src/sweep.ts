/** Clears away what writers that died left behind. */
import { readdirSync, rmSync } from 'node:fs';
import { isAlive } from './owner.ts';

/** What writers that are gone left half written: `NAME.PID-RANDOM.part`. */
export function sweepParts(folder: string): void {
  for (const name of readdirSync(folder)) {
    const pid = Number(/\.(\d+)-[0-9a-f]+\.part$/.exec(name)?.[1] ?? 'NaN');
    if (Number.isInteger(pid) && !isAlive(pid)) rmSync(`${folder}/${name}`, { force: true });
  }
}
