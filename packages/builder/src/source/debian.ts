/** A Debian source package: its `.dsc` and the tarballs it names, through the host's apt, which checks the archive's signatures. */
import { readFileSync } from 'node:fs';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { formatPackageUrl, type PackageUrl } from '@lockstep/protocol/source-ref/package-url';
import { sha256File } from '@lockstep/store/digests';
import type { Context } from '../context.ts';
import { type Archive, downloadSource } from '../fetch/apt.ts';
import { ownJob } from '../silo/job.ts';
import { runSilo } from '../silo/run-silo.ts';
import type { FetchedSource } from './fetched.ts';

export interface DebianSource extends FetchedSource {
  /** Build-Depends, Build-Depends-Arch and Build-Depends-Indep of the `.dsc`. */
  readonly buildDepends: readonly string[];
  readonly buildConflicts: readonly string[];
  readonly version: string;
}

export async function fetchDebianSource(context: Context, archive: Archive, purl: PackageUrl): Promise<DebianSource> {
  if (purl.namespace !== archive.distribution) {
    throw new LockstepError(
      'ENVIRONMENT_UNRESOLVED',
      `${formatPackageUrl(purl)} is of ${purl.namespace}, the suite ${archive.suite} is of ${archive.distribution}`,
      'Name a suite of the same distribution in [environment].',
    );
  }
  const scratch = context.store.newScratch();
  try {
    const folder = `${scratch}/inputs`;
    const names = await downloadSource(context, archive, purl.name, purl.version, folder);
    const dscName = names.find((name) => name.endsWith('.dsc'));
    if (dscName === undefined)
      throw new LockstepError(
        'FETCH_FAILED',
        `apt fetched no .dsc for ${purl.name}`,
        'Check the name: it is the source package that is wanted.',
      );
    const dsc = readFileSync(`${folder}/${dscName}`, 'utf8');
    const version = controlField(dsc, 'Version');
    if (version === null) throw new LockstepError('FETCH_FAILED', `${dscName} names no version`, 'The source package is broken.');
    const date = await changelogDate(context, scratch);
    const uri = formatPackageUrl({ ...purl, version, qualifiers: { arch: 'source' } });
    const files = names.map((name) => {
      const { digest, size } = sha256File(`${folder}/${name}`);
      const sha256: Sha256 = context.store.blobs.adopt(`${folder}/${name}`, digest);
      return { uri, sha256, size, to: name, as: 'file' as const, strip: 0, fetched: null };
    });
    return {
      ref: uri,
      files,
      date,
      dateFrom: 'latest entry of debian/changelog',
      git: null,
      annotatedTag: null,
      warnings: [],
      version,
      buildDepends: ['Build-Depends', 'Build-Depends-Arch', 'Build-Depends-Indep'].flatMap((name) =>
        splitDependencies(controlField(dsc, name)),
      ),
      buildConflicts: ['Build-Conflicts', 'Build-Conflicts-Arch', 'Build-Conflicts-Indep'].flatMap((name) =>
        splitDependencies(controlField(dsc, name)),
      ),
    };
  } finally {
    context.store.dropScratch(scratch);
  }
}

/** A field of a control file (deb822), continuation lines joined. */
export function controlField(text: string, name: string): string | null {
  const match = new RegExp(`^${name}:[ \\t]*(.*(?:\\n[ \\t]+.*)*)`, 'mi').exec(text);
  return match?.[1] === undefined ? null : match[1].replace(/\n[ \t]+/g, ' ').trim();
}

/** Drops what is only for build profiles that are not used (`<!nocheck>` stays, `<cross>` goes); apt understands the rest. */
function splitDependencies(field: string | null): string[] {
  if (field === null) return [];
  return field
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '' && !/<(?!!)[a-z0-9. ]+>/.test(one))
    .map((one) => one.replace(/\s*<[^>]*>/g, ''));
}

/** debian/changelog lies in an archive: taken out in the sandbox, read here. */
async function changelogDate(context: Context, scratch: string): Promise<number> {
  const run = [
    'for f in /inputs/*.debian.tar.* /inputs/*.tar.*; do [ -e "$f" ] || continue; case $f in *.orig.tar.*|*.asc) continue;; esac',
    "if tar -xOf $f --wildcards 'debian/changelog' '*/debian/changelog' > changelog 2>/dev/null || [ -s changelog ]; then break; fi; done",
    "[ -s changelog ] || { zcat /inputs/*.diff.gz | sed -n '/^+++ .*debian.changelog$/,/^--- /s/^+//p' > changelog; }",
  ].join('\n');
  const job = ownJob({
    profile: 'build',
    inputs: [{ path: 'inputs', target: '/inputs', as: 'bind', strip: 0 }],
    steps: [{ name: 'read debian/changelog', run }],
    outputs: [{ kind: 'files', path: 'changelog' }],
  });
  const result = await runSilo(context, scratch, job, null);
  const text = result.failure === null ? readFileSync(`${scratch}/outputs/changelog`, 'utf8') : '';
  const date = /^ -- .*>  (.+)$/m.exec(text)?.[1];
  const seconds = date === undefined ? Number.NaN : Date.parse(date) / 1000;
  if (Number.isNaN(seconds)) {
    throw new LockstepError(
      'FETCH_FAILED',
      'The source package has no debian/changelog with a date',
      'Set build.source_date_epoch in the manifest.',
      { reason: result.failure?.code ?? null },
    );
  }
  return seconds;
}
