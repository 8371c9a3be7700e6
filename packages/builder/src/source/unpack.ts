/**
 * Turns foreign archives into canonical tars: decompressed in the sandbox (decompressors are C code that reads foreign
 * bytes), read strictly by the silo, written again sorted and normalised. Bombs end at the sandbox's disk limit.
 */
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Context } from '../context.ts';
import { ownJob } from '../silo/job.ts';
import { runSilo, transcriptTail } from '../silo/run-silo.ts';

export interface Unpacked {
  readonly sha256: Sha256;
  readonly size: number;
  /** Latest time among its members, seconds since 1970. */
  readonly newest: number;
}

/** The decompressor is chosen by the first bytes, not by the name, which anybody can choose. */
const DECOMPRESS =
  'for f in /inputs/*; do n=$(basename $f); case $(od -An -N6 -tx1 $f | tr -d " ") in 1f8b*) gzip -dc $f;; fd377a585a00) xz -dc $f;; 28b52ffd*) zstd -dc $f;; 425a68*) bzip2 -dc $f;; 504b0304*) echo "zip archives are not supported" >&2; exit 1;; *) cat $f;; esac > /build/$n.tar; done';

/** @param archives blobs to normalise, all in one sandbox. @throws LockstepError FETCH_REFUSED for an unsafe or unreadable archive */
export async function unpackArchives(context: Context, archives: readonly Sha256[], scratchMb: number): Promise<Unpacked[]> {
  if (archives.length === 0) return [];
  const scratch = context.store.newScratch();
  try {
    const unique = [...new Set(archives)];
    for (const [index, digest] of unique.entries()) context.store.blobs.materialise(digest, `${scratch}/inputs/${index}`);
    const job = ownJob({
      profile: 'build',
      inputs: [{ path: 'inputs', target: '/inputs', as: 'bind', strip: 0 }],
      steps: [{ name: 'decompress', run: DECOMPRESS }],
      outputs: unique.map((_, index) => ({ kind: 'archive' as const, path: `${index}.tar`, name: `${index}.tar` })),
    });
    const result = await runSilo(context, scratch, { ...job, limits: { ...job.limits, scratchMb } }, null);
    if (result.failure !== null) throw archiveError(result.failure, transcriptTail(scratch, 500).toString('utf8').trim());
    const byDigest = new Map<Sha256, Unpacked>();
    for (const [index, digest] of unique.entries()) {
      const output = result.outputs[index];
      if (output === undefined) throw new LockstepError('FETCH_FAILED', 'An archive was not unpacked', 'Run it again.');
      const sha256 = context.store.blobs.adopt(`${scratch}/outputs/${output.name}`);
      byDigest.set(digest, { sha256, size: output.size, newest: output.newest ?? 0 });
    }
    return archives.flatMap((digest) => byDigest.get(digest) ?? []);
  } finally {
    context.store.dropScratch(scratch);
  }
}

function archiveError(failure: { code: string; message: string; hint: string }, said: string): LockstepError {
  const extra = said === '' ? '' : ` (${said})`;
  if (failure.code === 'DISK_FULL')
    return new LockstepError(
      'FETCH_TOO_LARGE',
      'The archive unpacks to more than the sandbox has room for',
      'If it is not a bomb, unpack it yourself and use a directory as source.',
      { reason: 'ARCHIVE_TOO_LARGE' },
    );
  return new LockstepError('FETCH_REFUSED', `${failure.message}${extra}`, failure.hint, { reason: failure.code });
}
