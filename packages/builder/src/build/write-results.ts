/** Writes outputs and their siblings where a person wants them, verified on the way. */
import { lstatSync, mkdirSync } from 'node:fs';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Context } from '../context.ts';
import type { AttestedBuild } from './build.ts';

export interface WrittenFile {
  readonly path: string;
  readonly sha256: string;
}

/** `NAME`, and beside them `build.intoto.json`, `build.spdx.json`, `build.transcript`. */
export function writeResults(context: Context, built: AttestedBuild, folder: string, base: string): WrittenFile[] {
  const taken = built.outputs.find((output) => [`${base}.intoto.json`, `${base}.spdx.json`, `${base}.transcript`].includes(output.name));
  if (taken !== undefined)
    throw new LockstepError(
      'MANIFEST_INVALID',
      `The output ${taken.name} has the name of a file that is written beside the outputs`,
      'Give the output another name.',
    );
  makeOutputFolder(folder);
  const { blobs } = context.store;
  const written: WrittenFile[] = [];
  const put = (sha256: AttestedBuild['sbom'], name: string, mode: number): void => {
    blobs.copyOut(sha256, `${folder}/${name}`, mode);
    written.push({ path: `${folder}/${name}`, sha256 });
  };
  for (const output of built.outputs) put(output.digest.sha256, output.name, output.executable ? 0o755 : 0o644);
  put(built.attestation, `${base}.intoto.json`, 0o644);
  put(built.sbom, `${base}.spdx.json`, 0o644);
  put(built.transcript, `${base}.transcript`, 0o644);
  return written;
}

/** A project can carry a link where its outputs are to go, and would choose where on this machine they land. */
export function makeOutputFolder(folder: string): void {
  if (lstatSync(folder, { throwIfNoEntry: false })?.isSymbolicLink() === true) {
    throw new LockstepError(
      'FETCH_REFUSED',
      `${folder} is a symbolic link`,
      'Remove it, or say where outputs are to go with --out and the real path.',
    );
  }
  mkdirSync(folder, { recursive: true });
}
