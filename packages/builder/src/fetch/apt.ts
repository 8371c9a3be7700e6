/**
 * The host's own apt, its mirrors, keys and proxy, with a state of our own: the lists of one suite, binary and source,
 * and an empty dpkg status, so that what is resolved does not depend on what this machine has installed.
 * apt verifies the archive's signatures; nothing is installed.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { isSha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Context } from '../context.ts';
import { type CommandResult, runCommand } from './command.ts';

export interface Archive {
  readonly suite: string;
  /** `debian`, `ubuntu`: the namespace of package URLs. */
  readonly distribution: string;
  readonly architecture: string;
  readonly options: readonly string[];
  readonly root: string;
}

export interface ArchivePackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  readonly size: number;
  readonly sha256: Sha256;
  /** Path below the archive's base URL. */
  readonly path: string;
}

interface IndexTarget {
  readonly uri: string;
  readonly release: string;
  readonly codename: string;
  readonly component: string;
  readonly signedBy: string;
  readonly origin: string;
}

const ENV = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive' };

/** Settings of the environment that apt needs to reach its mirror: proxies only. */
function environment(): Record<string, string> {
  const proxies = Object.entries(process.env).filter(
    (entry): entry is [string, string] => /^(https?|no)_proxy$/i.test(entry[0]) && entry[1] !== undefined,
  );
  return { ...ENV, ...Object.fromEntries(proxies) };
}

async function apt(context: Context, program: string, args: readonly string[], cwd = '/', seconds = 900): Promise<CommandResult> {
  return runCommand(`/usr/bin/${program}`, args, { cwd, env: environment(), seconds, cancelled: context.cancelled });
}

/** Which suite `host` is: the codename of /etc/os-release. */
export function hostSuite(osRelease: string): string | null {
  return /^VERSION_CODENAME=["']?([a-z]+)["']?$/m.exec(osRelease)?.[1] ?? null;
}

/**
 * Open the archive of one suite, with its updates and security pockets where the host's apt knows them.
 * @param refresh fetch the lists anew
 * @throws LockstepError ENVIRONMENT_UNRESOLVED when the host's apt has no such suite
 */
export async function openArchive(context: Context, suite: string, refresh: boolean): Promise<Archive> {
  const targets = await hostTargets(context);
  const wanted = targets.filter((target) => isOfSuite(target, suite));
  const first = wanted[0];
  if (first === undefined) {
    const known = [...new Set(targets.map((target) => target.codename))].sort().join(', ') || 'none';
    throw new LockstepError(
      'ENVIRONMENT_UNRESOLVED',
      `This host's apt has no suite "${suite}" (it has: ${known})`,
      `Add a source for ${suite} to /etc/apt/sources.list.d and run "apt-get update", or name another suite.`,
    );
  }
  const architecture = (await apt(context, 'dpkg', ['--print-architecture'])).stdout.trim();
  const root = `${context.store.root}/apt/${suite}-${architecture}`;
  for (const folder of ['state/lists/partial', 'cache/archives/partial', 'etc']) mkdirSync(`${root}/${folder}`, { recursive: true });
  writeFileSync(`${root}/status`, '');
  const lines = [
    ...new Set(
      wanted.map(
        (target) =>
          `[arch=${architecture}${target.signedBy === '' ? '' : ` signed-by=${target.signedBy}`}] ${target.uri} ${target.release} ${target.component}`,
      ),
    ),
  ].sort();
  writeFileSync(
    `${root}/etc/sources.list`,
    lines
      .flatMap((line) => [`deb ${line}`, `deb-src ${line}`])
      .join('\n')
      .concat('\n'),
  );
  const options = [
    `Dir::State=${root}/state`,
    `Dir::State::status=${root}/status`,
    `Dir::Cache=${root}/cache`,
    `Dir::Etc::sourcelist=${root}/etc/sources.list`,
    'Dir::Etc::sourceparts=-',
    'Dir::Etc::preferences=-',
    'Dir::Etc::preferencesparts=-',
    'Dir::Cache::pkgcache=pkgcache.bin',
    'Dir::Cache::srcpkgcache=srcpkgcache.bin',
    'Acquire::Languages=none',
    'APT::Install-Recommends=false',
    'APT::Install-Suggests=false',
    `APT::Architecture=${architecture}`,
    `APT::Architectures=${architecture}`,
    'APT::Get::Assume-Yes=true',
    'Acquire::Retries=3',
    'APT::Sandbox::User=root',
    'APT::Update::Post-Invoke=',
    'APT::Update::Post-Invoke-Success=',
    'quiet=2',
  ].flatMap((option) => ['-o', option]);
  const archive: Archive = { suite, distribution: first.origin, architecture, options, root };
  const hasLists = readdirSync(`${root}/state/lists`).some((name) => name.includes('_Packages') || name.includes('_Sources'));
  if ((refresh || !hasLists) && !context.settings.offline) await update(context, archive);
  return archive;
}

async function update(context: Context, archive: Archive): Promise<void> {
  const done = await apt(context, 'apt-get', [...archive.options, 'update']);
  if (done.status !== 0)
    throw new LockstepError(
      'FETCH_FAILED',
      `apt-get update failed: ${lastLines(done.stderr)}`,
      'Check that "apt-get update" works on this host.',
    );
}

async function hostTargets(context: Context): Promise<IndexTarget[]> {
  if (!existsSync('/usr/bin/apt-get'))
    throw new LockstepError(
      'HOST_CANNOT',
      'apt-get is not on this host, so Debian packages cannot be resolved',
      'Lock on a Debian or Ubuntu machine; what is locked can be built anywhere.',
    );
  const format = ['$(REPO_URI)', '$(RELEASE)', '$(CODENAME)', '$(COMPONENT)', '$(SIGNED_BY)', '$(ORIGIN)'].join('|');
  const done = await apt(context, 'apt-get', ['indextargets', '--format', format, 'Created-By: Packages']);
  return done.stdout
    .split('\n')
    .filter((line) => line.includes('|'))
    .map((line) => {
      const [uri = '', release = '', codename = '', component = '', signedBy = '', origin = ''] = line.split('|');
      return {
        uri,
        release,
        codename,
        component,
        signedBy: signedBy.startsWith('/') ? signedBy : '',
        origin: origin.toLowerCase().replace(/[^a-z0-9-]/g, ''),
      };
    })
    .filter(
      (target) =>
        (target.origin === 'debian' || target.origin === 'ubuntu') && (target.component === 'main' || target.component === 'universe'),
    );
}

function isOfSuite(target: IndexTarget, suite: string): boolean {
  return [suite, `${suite}-updates`, `${suite}-security`].includes(target.release) || target.codename === suite;
}

/** Resolve from nothing: the essential packages and everything that `dependencies` need, without recommendations. */
export async function resolvePackages(
  context: Context,
  archive: Archive,
  dependencies: readonly string[],
  conflicts: readonly string[],
): Promise<{ all: ArchivePackage[]; bootstrap: ReadonlySet<string> }> {
  const essential = await simulate(context, archive, ['install', '--', '?essential']);
  const names = [...essential];
  const wanted = [...names.map((one) => one.split(':')[0] ?? one), ...dependencies, ...conflicts.map((one) => `Conflicts: ${one}`)];
  const chosen = await simulate(context, archive, ['satisfy', '--', ...wanted]);
  const all = await requireEntries(context, archive, [...chosen]);
  return { all, bootstrap: new Set(names.map((one) => one.split('=')[0] ?? one).map((one) => one.split(':')[0] ?? one)) };
}

/** `NAME:ARCH=VERSION` of everything that would be installed. */
async function simulate(context: Context, archive: Archive, command: readonly string[]): Promise<Set<string>> {
  const done = await apt(context, 'apt-get', [...archive.options, '--simulate', '-o', 'quiet=1', ...command]);
  if (done.status !== 0) {
    throw new LockstepError(
      'ENVIRONMENT_UNRESOLVED',
      `apt cannot resolve the environment: ${lastLines(`${done.stdout}\n${done.stderr}`)}`,
      'Check the package names and versions in [environment] against the suite.',
    );
  }
  const chosen = new Set<string>();
  for (const match of done.stdout.matchAll(/^Inst (\S+) \((\S+) .*?\[([a-z0-9-]+)\]\)/gm))
    chosen.add(`${match[1]?.split(':')[0]}:${match[3]}=${match[2]}`);
  return chosen;
}

/** What the signed index says of these packages, all versions that it has, by `NAME:ARCH=VERSION`. */
export async function indexEntries(
  context: Context,
  archive: Archive,
  specs: readonly string[],
): Promise<ReadonlyMap<string, ArchivePackage>> {
  const asked = [...new Set(specs.map((spec) => spec.split(':')[0] ?? spec))];
  const done = await apt(context, 'apt-cache', [...archive.options, 'show', '--', ...asked]);
  const found = new Map<string, ArchivePackage>();
  for (const stanza of done.stdout.split('\n\n')) {
    const fields = new Map(
      [...stanza.matchAll(/^(Package|Version|Architecture|Size|SHA256|Filename): (.*)$/gm)].map((match) => [match[1], match[2] ?? '']),
    );
    const sha256 = fields.get('SHA256') ?? '';
    const one = {
      name: fields.get('Package') ?? '',
      version: fields.get('Version') ?? '',
      architecture: fields.get('Architecture') ?? '',
      size: Number(fields.get('Size')),
      path: fields.get('Filename') ?? '',
    };
    if (one.name !== '' && isSha256(sha256)) found.set(`${one.name}:${one.architecture}=${one.version}`, { ...one, sha256 });
  }
  return found;
}

/** @throws LockstepError ENVIRONMENT_UNRESOLVED for what the index does not have */
async function requireEntries(context: Context, archive: Archive, specs: readonly string[]): Promise<ArchivePackage[]> {
  const found = await indexEntries(context, archive, specs);
  return specs.map((spec) => {
    const one = found.get(spec);
    if (one === undefined)
      throw new LockstepError(
        'ENVIRONMENT_UNRESOLVED',
        `The archive's index has no digest for ${spec}`,
        'Run "lockstep lock" again; if it stays, the mirror is broken.',
      );
    return one;
  });
}

/** The version in the archive, with its epoch, that a package file's name stands for; null when it is not there. */
export async function versionWithEpoch(context: Context, archive: Archive, name: string, version: string): Promise<string | null> {
  const done = await apt(context, 'apt-cache', [...archive.options, 'show', '--', name]);
  const versions = [...done.stdout.matchAll(/^Version: (.*)$/gm)].map((match) => match[1] ?? '');
  return versions.find((one) => one.replace(/^\d+:/, '') === version) ?? null;
}

/** Download exact versions into `folder`; apt checks them against its signed index. What cannot be had is simply not there afterwards. */
export async function downloadPackages(context: Context, archive: Archive, specs: readonly string[], folder: string): Promise<string> {
  let said = '';
  const batch = 200;
  for (let at = 0; at < specs.length; at += batch) {
    const asked = specs.slice(at, at + batch).map((spec) => spec.replace(':all=', '='));
    const done = await apt(context, 'apt-get', [...archive.options, 'download', '--', ...asked], folder, 3600);
    if (done.status === 0) continue;
    // One that is gone makes apt refuse the whole batch: take them one by one.
    for (const spec of asked) {
      const one = await apt(context, 'apt-get', [...archive.options, 'download', '--', spec], folder);
      if (one.status !== 0) said = lastLines(one.stderr);
    }
  }
  return said;
}

/** Download a source package's files (`.dsc` and what it names). @returns file names */
export async function downloadSource(
  context: Context,
  archive: Archive,
  name: string,
  version: string | null,
  folder: string,
): Promise<string[]> {
  const spec = version === null ? name : `${name}=${version}`;
  const done = await apt(
    context,
    'apt-get',
    [...archive.options, '--download-only', '--only-source', '-o', 'APT::Get::Download-Only=true', 'source', '--', spec],
    folder,
    1800,
  );
  if (done.status !== 0) {
    throw new LockstepError(
      'FETCH_FAILED',
      `The source package ${spec} cannot be fetched from ${archive.suite}: ${lastLines(done.stderr)}`,
      'Archives keep current versions only: check the version, or leave it out and lock again.',
    );
  }
  return readdirSync(folder).sort();
}

/** apt writes an epoch's colon as %3a. */
export function moveDownloaded(folder: string, one: { name: string; version: string; architecture: string }, target: string): boolean {
  const path = `${folder}/${one.name}_${one.version.replaceAll(':', '%3a')}_${one.architecture}.deb`;
  if (!existsSync(path)) return false;
  rmSync(target, { force: true });
  renameSync(path, target);
  return true;
}

export function lastLines(text: string): string {
  return text
    .trim()
    .split('\n')
    .filter((line) => line.trim() !== '')
    .slice(-4)
    .join(' / ')
    .slice(0, 600);
}
