/** Clears away what writers that died left behind. */
import { readdirSync, rmSync } from 'node:fs';
import { ownerLives } from './owner.ts';

/** What writers that are gone left half written: `NAME.PID-RANDOM.part`. */
export function sweepParts(folder: string): void {
  for (const name of readdirSync(folder)) {
    const tag = /\.(\d+-[0-9a-f]+)\.part$/.exec(name)?.[1];
    if (tag !== undefined && ownerLives(tag) === false) rmSync(`${folder}/${name}`, { force: true });
  }
}
