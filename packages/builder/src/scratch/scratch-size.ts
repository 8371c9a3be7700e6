/** How large the volume of a scratch has to be: everything that a build may put there at one time. */
import type { Definition } from '@lockstep/protocol/definition/definition';

/** job.json (16 MiB at most), result.json, the clock library. */
const SMALL_FILES_MB = 64;
/** What ext4 keeps for itself: inode tables and bitmaps, under 3 %. */
const OVERHEAD = 1 / 16;

/** MiB. The disk of the silo, the staged inputs (copies, other than on a plain scratch), outputs and transcript. */
export function scratchSizeMb({ manifest: { resources }, lock }: Definition): number {
  const inputs = [...lock.source.files, ...lock.inputs].reduce((sum, file) => sum + file.size, 0);
  const content = resources.scratch_mb + resources.output_mb + resources.transcript_mb + inputs / (1 << 20) + SMALL_FILES_MB;
  return Math.ceil(content * (1 + OVERHEAD));
}
