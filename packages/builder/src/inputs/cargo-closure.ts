/**
 * The closure of a `Cargo.lock` as a vendor directory: every crate by the SHA-256 that the lock names, unpacked, with
 * the checksum files and the source replacement that cargo wants. The same mechanism as for npm; crates come from the
 * download template in LOCKSTEP_CARGO_DL, since cargo has no command that fetches one crate.
 */
import { parse } from 'smol-toml';
import { isSha256, type Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { LockedFile } from '@lockstep/protocol/lock/lock';
import type { Context, ProgressItem } from '../context.ts';
import { fetchArchive } from '../source/archive.ts';

export interface Crate {
  readonly name: string;
  readonly version: string;
  readonly sha256: Sha256;
}

/** @throws LockstepError LOCK_INVALID for crates from git, which have no checksum */
export function readCargoLock(text: string, file: string): Crate[] {
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    throw new LockstepError(
      'LOCK_INVALID',
      `${file} is not TOML: ${error instanceof Error ? error.message.split('\n')[0] : ''}`,
      'Make it again with "cargo generate-lockfile".',
    );
  }
  const packages = typeof value === 'object' && value !== null && 'package' in value && Array.isArray(value.package) ? value.package : [];
  return packages.flatMap((one: unknown): Crate[] => {
    if (typeof one !== 'object' || one === null) return [];
    const { name, version, source, checksum } = one as Record<string, unknown>;
    // A package without a source is the project itself or a member of its workspace.
    if (source === undefined) return [];
    const ok =
      typeof name === 'string' &&
      typeof version === 'string' &&
      typeof checksum === 'string' &&
      /^[A-Za-z0-9_-]+$/.test(name) &&
      /^[0-9A-Za-z.+-]+$/.test(version);
    if (!ok || !isSha256(checksum))
      throw new LockstepError(
        'LOCK_INVALID',
        `${file}: ${String(name)} ${String(version)} has no checksum`,
        'Only crates from a registry can be locked.',
      );
    return [{ name, version, sha256: checksum }];
  });
}

export async function lockCargoClosure(
  context: Context,
  crates: readonly Crate[],
  to: string,
  template: string | undefined,
  scratchMb: number,
  item: ProgressItem,
): Promise<LockedFile[]> {
  if (template === undefined || !template.includes('{crate}') || !template.includes('{version}')) {
    throw new LockstepError(
      'USAGE',
      'LOCKSTEP_CARGO_DL does not say where crates are',
      'Set it to the download template of your registry, with {crate} and {version}.',
    );
  }
  const files: LockedFile[] = [];
  for (const crate of crates) {
    item.update(`${crate.name} ${crate.version}`);
    const url = template.replaceAll('{crate}', crate.name).replaceAll('{version}', crate.version);
    const folder = `${to}/${crate.name}-${crate.version}`;
    const { file } = await fetchArchive(context, { url, sha256: crate.sha256, to: folder, unpack: true, strip: 1, scratchMb });
    const uri = `pkg:cargo/${crate.name}@${encodeURIComponent(crate.version)}`;
    files.push(
      { ...file, uri },
      generated(context, `${uri}#checksum`, `${folder}/.cargo-checksum.json`, JSON.stringify({ files: {}, package: crate.sha256 })),
    );
  }
  const config = `[source.crates-io]\nreplace-with = "vendored-sources"\n\n[source.vendored-sources]\ndirectory = "${to}"\n`;
  return [...files, generated(context, 'generated:cargo-config', '.cargo/config.toml', config)];
}

function generated(context: Context, uri: string, to: string, content: string): LockedFile {
  return { uri, sha256: context.store.blobs.put(content), size: Buffer.byteLength(content), to, as: 'file', strip: 0, fetched: null };
}
