/** An https source with a SHA-256: kept as fetched, or unpacked to a canonical tar. */
import { rmSync } from 'node:fs';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { type Sha256, sha256Hex } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { LockedFile } from '@lockstep/protocol/lock/lock';
import type { Context } from '../context.ts';
import { fetchHttps } from '../fetch/https.ts';
import { NEUTRAL_DATE } from '../silo/job.ts';
import { unpackArchives } from './unpack.ts';

export interface ArchiveRequest {
  readonly url: string;
  /** null refuses: an https URL alone says nothing about what it will serve tomorrow. */
  readonly sha256: string | null;
  readonly to: string;
  readonly unpack: boolean;
  readonly strip: number;
  /** What it may take up while it is unpacked: it has to fit on the build's disk anyway. */
  readonly scratchMb: number;
}

/** @throws LockstepError DIGEST_MISMATCH, FETCH_* */
export async function fetchArchive(context: Context, request: ArchiveRequest): Promise<{ file: LockedFile; newest: number }> {
  const fetched = await fetchChecked(context, request.url, request.sha256);
  const base = { uri: request.url, to: request.to, strip: request.strip };
  if (!request.unpack)
    return { file: { ...base, sha256: fetched.sha256, size: fetched.size, as: 'file', strip: 0, fetched: null }, newest: NEUTRAL_DATE };
  const [tar] = await unpackArchives(context, [fetched.sha256], request.scratchMb);
  if (tar === undefined) throw new LockstepError('FETCH_FAILED', `${request.url} was not unpacked`, 'Run it again.');
  return {
    file: { ...base, sha256: tar.sha256, size: tar.size, as: 'tree', fetched: { algorithm: 'sha256', digest: fetched.sha256 } },
    newest: tar.newest,
  };
}

async function fetchChecked(context: Context, url: string, wanted: string | null): Promise<{ sha256: Sha256; size: number }> {
  const { blobs } = context.store;
  // Kept bytes stand in for the origin only where they once came from there.
  const served = `served-${sha256Hex(toUtf8(`${url}\0${wanted ?? ''}`))}`;
  if (wanted !== null && blobs.has(wanted as Sha256) && context.store.cells.get(served) !== null)
    return { sha256: wanted as Sha256, size: blobs.size(wanted as Sha256) ?? 0 };
  const scratch = context.store.newScratch();
  try {
    const path = `${scratch}/fetched`;
    rmSync(path, { force: true });
    const got = await fetchHttps(context, url, path);
    if (wanted === null) {
      throw new LockstepError(
        'SOURCE_REF_INVALID',
        `${url} has no SHA-256 in the manifest`,
        `If these are the bytes that you mean, add: sha256 = "${got.sha256}"`,
      );
    }
    if (got.sha256 !== wanted)
      throw new LockstepError(
        'DIGEST_MISMATCH',
        `${url} has SHA-256 ${got.sha256}, the manifest says ${wanted}`,
        'The server serves other bytes than were meant. Find out why before you change the manifest.',
      );
    blobs.adopt(path, got.sha256);
    context.store.cells.swap(served, context.store.cells.get(served), 'fetched');
    return got;
  } finally {
    context.store.dropScratch(scratch);
  }
}
