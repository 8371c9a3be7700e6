/**
 * The closure of a `package-lock.json` (lockfile version 2 and 3) as a `node_modules` tree: every package by its
 * SHA-512, laid out as npm lays it out, with the `.bin` links; no install script runs. So a build needs neither npm nor
 * a network.
 */
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { isTable } from '@lockstep/protocol/decode/decode';
import { type Json, parseJson } from '@lockstep/protocol/json/parse';
import type { Lock, LockedFile } from '@lockstep/protocol/lock/lock';
import { formatPackageUrl, parsePackageUrl } from '@lockstep/protocol/source-ref/package-url';
import type { Context, ProgressItem } from '../context.ts';
import { checkIntegrity, downloadNpm } from '../fetch/npm.ts';
import { unpackArchives } from '../source/unpack.ts';

export interface NpmPackage {
  /** Where npm puts it: `node_modules/a/node_modules/@scope/b`. */
  readonly path: string;
  readonly name: string;
  readonly version: string;
  readonly integrity: string;
  readonly bin: Readonly<Record<string, string>>;
}

/** @param dev also what only development needs. @throws LockstepError LOCK_INVALID for what cannot be pinned */
export function readNpmLock(
  bytes: Uint8Array,
  file: string,
  dev: boolean,
  platform: { os: string; cpu: string; libc: string },
): NpmPackage[] {
  const json = parseJson(bytes, file);
  const packages = isTable(json) ? json['packages'] : undefined;
  if (!isTable(json) || ![2, 3].includes(Number(json['lockfileVersion'])) || !isTable(packages)) {
    throw new LockstepError('LOCK_INVALID', `${file} is not a package-lock.json of version 2 or 3`, 'Make it with npm 7 or later.');
  }
  return Object.entries(packages).flatMap(([path, entry]) => {
    if (path === '' || !isTable(entry) || (entry['dev'] === true && !dev) || !fits(entry, platform)) return [];
    return [readEntry(path, entry, file)];
  });
}

function readEntry(path: string, entry: { readonly [key: string]: Json }, file: string): NpmPackage {
  const invalid = (why: string): LockstepError =>
    new LockstepError(
      'LOCK_INVALID',
      `${file}: ${JSON.stringify(path)} ${why}`,
      'Only packages from the registry, with a version and an integrity, can be locked.',
    );
  if (entry['link'] === true) throw invalid('is a link into the workspace');
  if (
    !/^(?:node_modules\/(?:@[A-Za-z0-9._~-]+\/)?[A-Za-z0-9._~-]+)(?:\/node_modules\/(?:@[A-Za-z0-9._~-]+\/)?[A-Za-z0-9._~-]+)*$/.test(
      path,
    ) ||
    path.split('/').includes('..')
  )
    throw invalid('is not a path below node_modules');
  const version = entry['version'];
  const integrity = entry['integrity'];
  const name = typeof entry['name'] === 'string' ? entry['name'] : path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
  if (typeof version !== 'string' || typeof integrity !== 'string') throw invalid('has no version or integrity');
  if (parsePackageUrl(`pkg:npm/${name.replace('@', '%40')}@${encodeURIComponent(version)}`) === null)
    throw invalid(`has the name or version ${JSON.stringify(`${name}@${version}`)}`);
  const bin = isTable(entry['bin'])
    ? Object.fromEntries(Object.entries(entry['bin']).filter((pair): pair is [string, string] => typeof pair[1] === 'string'))
    : {};
  return { path, name, version, integrity, bin };
}

/** npm installs a package for one platform only there. */
function fits(entry: { readonly [key: string]: Json }, platform: { os: string; cpu: string; libc: string }): boolean {
  const allows = (list: Json | undefined, value: string): boolean => {
    if (!Array.isArray(list)) return true;
    const names = list.filter((one): one is string => typeof one === 'string');
    if (names.includes(`!${value}`)) return false;
    return names.every((one) => one.startsWith('!')) || names.includes(value);
  };
  return allows(entry['os'], platform.os) && allows(entry['cpu'], platform.cpu) && allows(entry['libc'], platform.libc);
}

export async function lockNpmClosure(
  context: Context,
  packages: readonly NpmPackage[],
  to: string,
  scratchMb: number,
  item: ProgressItem,
): Promise<{ files: LockedFile[]; links: Lock['links'][number][] }> {
  const scratch = context.store.newScratch();
  try {
    const specs = [...new Set(packages.map((one) => `${one.name}@${one.version}`))];
    item.update(`${specs.length} npm packages`);
    const paths = await downloadNpm(context, specs, scratch);
    const fetched = packages.map((one) => {
      const path = paths.get(`${one.name}@${one.version}`) ?? '';
      return { one, sha512: checkIntegrity(path, one.integrity, `${one.name}@${one.version}`), path };
    });
    const blobs = new Map<string, Sha256>();
    for (const { path } of fetched) if (!blobs.has(path)) blobs.set(path, context.store.blobs.adopt(path));
    const tars = await unpackArchives(
      context,
      fetched.map(({ path }) => blobs.get(path) ?? ('' as Sha256)),
      scratchMb,
    );
    const place = (path: string): string => to + path.slice('node_modules'.length);
    const files = fetched.map(({ one, sha512 }, index): LockedFile => {
      const tar = tars[index];
      if (tar === undefined) throw new LockstepError('FETCH_FAILED', `${one.name} was not unpacked`, 'Run it again.');
      const scope = one.name.startsWith('@') ? (one.name.split('/')[0] ?? '') : '';
      const uri = formatPackageUrl({
        type: 'npm',
        namespace: scope,
        name: scope === '' ? one.name : one.name.slice(scope.length + 1),
        version: one.version,
        qualifiers: {},
      });
      return {
        uri,
        sha256: tar.sha256,
        size: tar.size,
        to: place(one.path),
        as: 'tree',
        strip: 1,
        fetched: { algorithm: 'sha512', digest: sha512 },
      };
    });
    return { files, links: packages.flatMap((one) => binLinks(one, place)) };
  } finally {
    context.store.dropScratch(scratch);
  }
}

function binLinks(one: NpmPackage, place: (path: string) => string): Lock['links'][number][] {
  const folder = one.path.slice(0, one.path.lastIndexOf('node_modules/') + 'node_modules'.length);
  return Object.entries(one.bin).flatMap(([name, target]) => {
    const clean = target.replace(/^\.\//, '');
    if (!/^[A-Za-z0-9._-]+$/.test(name) || name === '.' || name === '..' || clean.startsWith('/') || clean.split('/').includes('..'))
      return [];
    return [{ path: `${place(folder)}/.bin/${name}`, target: `../${one.path.slice(folder.length + 1)}/${clean}` }];
  });
}
