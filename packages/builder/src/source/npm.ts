/** An npm package as source: its registry tarball, unpacked without the `package/` folder that npm puts around it. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { formatPackageUrl, type PackageUrl } from '@lockstep/protocol/source-ref/package-url';
import type { Context } from '../context.ts';
import { downloadNpm } from '../fetch/npm.ts';
import type { FetchedSource } from './fetched.ts';
import { unpackArchives } from './unpack.ts';

export async function fetchNpmSource(context: Context, purl: PackageUrl, scratchMb: number): Promise<FetchedSource> {
  if (purl.version === null)
    throw new LockstepError('SOURCE_MOVING', `${formatPackageUrl(purl)} names no version`, 'Add @VERSION: what "latest" is changes.');
  const name = purl.namespace === '' ? purl.name : `${purl.namespace}/${purl.name}`;
  const scratch = context.store.newScratch();
  try {
    const spec = `${name}@${purl.version}`;
    const path = (await downloadNpm(context, [spec], scratch)).get(spec);
    if (path === undefined) throw new LockstepError('FETCH_FAILED', `npm fetched nothing for ${spec}`, 'Check the name and version.');
    const sha512 = createHash('sha512').update(readFileSync(path)).digest('hex');
    const [tar] = await unpackArchives(context, [context.store.blobs.adopt(path)], scratchMb);
    if (tar === undefined) throw new LockstepError('FETCH_FAILED', `${spec} was not unpacked`, 'Run it again.');
    const uri = formatPackageUrl(purl);
    return {
      ref: uri,
      files: [{ uri, sha256: tar.sha256, size: tar.size, to: '.', as: 'tree', strip: 1, fetched: { algorithm: 'sha512', digest: sha512 } }],
      date: tar.newest,
      dateFrom: 'latest time in the tarball',
      git: null,
      annotatedTag: null,
      warnings: [],
    };
  } finally {
    context.store.dropScratch(scratch);
  }
}
