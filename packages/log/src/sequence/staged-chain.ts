/**
 * Staged groups as a chain: each names the one before it, until the older ones are on the disk under their public names.
 * What a crash of the machine took from the public files is written again from it.
 *
 * Nobody decides a group before all that the one before it holds was written. So where a written file is durable at once,
 * only the newest group can be missing from the public files, and the chain has one link.
 */
import { fromUtf8 } from '@lockstep/protocol/bytes/utf8';
import { isSha256, type Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { sameHash } from '@lockstep/protocol/merkle/hash';
import { eachAtMost, FILES_AT_ONCE } from '../files/each-at-most.ts';
import type { StagedFiles } from '../files/staging.ts';
import type { LogHome } from './log-home.ts';

/** In a staged group: the digest of the group before it. No public file is called so. */
export const PREVIOUS = '.previous';

/**
 * Writes what is staged and not public: the process that decided it may have died, or the machine, before what it had
 * written was on the disk. Oldest first, from the group that `applied` was the result of.
 */
export async function applyStaged(home: LogHome, newest: Sha256, applied: Sha256 | null): Promise<void> {
  for (const { files } of (await stagedChain(home, newest, applied)).reverse())
    await eachAtMost(FILES_AT_ONCE, files, async ([path, bytes]) => {
      const present = path === PREVIOUS ? bytes : await home.files.read(path);
      if (present === null || !sameHash(present, bytes)) await home.files.write(path, bytes);
    });
}

/** Newest first: each group names the one before it. Ends where the older ones were removed, being on the disk. */
async function stagedChain(home: LogHome, newest: Sha256, end: Sha256 | null): Promise<{ digest: Sha256; files: StagedFiles }[]> {
  const chain: { digest: Sha256; files: StagedFiles }[] = [];
  for (let digest: string | null = newest; digest !== null && digest !== end && isSha256(digest); ) {
    const files = await readStaged(home, digest);
    if (files === null) break;
    chain.push({ digest, files });
    if (home.files.durable) break;
    const previous = files.get(PREVIOUS);
    digest = previous === undefined ? null : fromUtf8(previous);
  }
  return chain;
}

async function readStaged(home: LogHome, digest: Sha256): Promise<StagedFiles | null> {
  try {
    return await home.staging.get(digest);
  } catch (error) {
    // Another fault is one of the disk, and says nothing of what lies there.
    if (!(error instanceof TypeError)) throw error;
    throw new LockstepError(
      'LOG_CORRUPT',
      `A staged group is damaged: ${error.message}`,
      'Check the disk and restore the file from a backup. It may be the only copy; where "lockstep log verify" finds the public files whole, move it away.',
    );
  }
}

/**
 * Removes staged groups once all that they hold is on the disk under its public name. The last one stays: its cell names
 * it; and so does what is not of this chain: another sequencer may be about to decide it.
 */
export async function removeFlushed(home: LogHome, newest: Sha256): Promise<void> {
  if (home.files.durable) return;
  const chain = await stagedChain(home, newest, null);
  await home.files.flush();
  for (const { digest } of chain) if (digest !== newest) await home.staging.remove(digest);
}

/** The same where every file is durable once it was written: `previous` is not needed as soon as a group after it is decided. */
export async function removeDurable(home: LogHome, previous: Sha256 | null): Promise<void> {
  if (!home.files.durable || previous === null) return;
  try {
    await home.staging.remove(previous);
  } catch {
    // It takes up room, and nothing else: whatever was decided stays decided.
  }
}
