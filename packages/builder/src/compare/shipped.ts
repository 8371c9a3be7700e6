/** Compares outputs, bit by bit, with what somebody has shipped: a file, or packages of the archive. */
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parsePackageUrl } from '@lockstep/protocol/source-ref/package-url';
import { sha256File } from '@lockstep/store/digests';
import type { BuiltOutput } from '../build/build.ts';
import type { Context } from '../context.ts';
import { downloadPackages, lastLines, openArchive, versionWithEpoch } from '../fetch/apt.ts';
import { type Difference, whereTheyDiffer } from './difference.ts';

export interface ShippedComparison {
  readonly output: string;
  readonly result: 'equal' | 'differs' | 'not shipped';
  /** Where the shipped file came from. */
  readonly origin: string;
  readonly sha256: string | null;
  readonly difference: Difference | null;
}

export interface Against {
  /** A path, `pkg:deb/DISTRIBUTION` for every `.deb` of the outputs, or `pkg:deb/DISTRIBUTION/NAME@VERSION`. */
  readonly what: string;
  readonly suite: string | null;
}

export async function compareWithShipped(
  context: Context,
  outputs: readonly BuiltOutput[],
  against: Against,
): Promise<ShippedComparison[]> {
  if (!against.what.startsWith('pkg:')) return [compareFile(context, outputs, against.what)];
  if (against.suite === null)
    throw new LockstepError(
      'USAGE',
      'The build has no Debian environment, so there is no suite to look in',
      'Compare with a file instead.',
    );
  const wanted = outputs.filter((output) => wantedBy(against.what, output.name));
  if (wanted.length === 0)
    throw new LockstepError(
      'USAGE',
      `None of the outputs (${outputs.map((output) => output.name).join(', ')}) is ${against.what}`,
      'Use pkg:deb/debian for all .deb outputs, or name one of them.',
    );
  const archive = await openArchive(context, against.suite, true);
  const scratch = context.store.newScratch();
  try {
    const results: ShippedComparison[] = [];
    for (const output of wanted) {
      const folder = `${scratch}/shipped-${results.length}`;
      mkdirSync(folder);
      const { name, version, architecture } = debParts(output.name);
      // The name of a file that a build made is foreign text, and is about to become an argument of apt.
      if (!/^[a-z0-9][a-z0-9+.-]+$/.test(name) || !/^[0-9][A-Za-z0-9.+~-]*$/.test(version) || !/^[a-z0-9-]+$/.test(architecture)) {
        results.push({
          output: output.name,
          result: 'not shipped',
          origin: 'not the name of a Debian package',
          sha256: null,
          difference: null,
        });
        continue;
      }
      const full = await versionWithEpoch(context, archive, name, version);
      const said =
        full === null ? 'not in the index' : await downloadPackages(context, archive, [`${name}:${architecture}=${full}`], folder);
      const file = readdirSync(folder)[0];
      if (file === undefined)
        results.push({ output: output.name, result: 'not shipped', origin: lastLines(said), sha256: null, difference: null });
      else results.push(compareOne(context, output, `${folder}/${file}`, `pkg:deb/${archive.distribution}/${name}@${version}`));
    }
    return results;
  } finally {
    context.store.dropScratch(scratch);
  }
}

/** `NAME_VERSION_ARCH.deb`; the version in a file name has no epoch. */
function debParts(file: string): { name: string; version: string; architecture: string } {
  const [name = '', version = '', architecture = ''] = file.replace(/\.u?deb$/, '').split('_');
  return { name, version, architecture };
}

function wantedBy(what: string, output: string): boolean {
  if (!output.endsWith('.deb')) return false;
  if (/^pkg:deb\/[a-z]+$/.test(what)) return true;
  const purl = parsePackageUrl(what);
  if (purl?.type !== 'deb')
    throw new LockstepError(
      'SOURCE_REF_INVALID',
      `${what} is not a Debian package URL`,
      'Use pkg:deb/debian or pkg:deb/debian/NAME@VERSION.',
    );
  const { name, version } = debParts(output);
  return name === purl.name && (purl.version === null || purl.version.replace(/^\d+:/, '') === version);
}

function compareFile(context: Context, outputs: readonly BuiltOutput[], path: string): ShippedComparison {
  if (!existsSync(path) || !statSync(path).isFile())
    throw new LockstepError('FILE_NOT_FOUND', `${path} does not exist`, 'Give a file, or pkg:deb/debian.');
  const output = outputs.find((one) => one.name === basename(path)) ?? (outputs.length === 1 ? outputs[0] : undefined);
  if (output === undefined)
    throw new LockstepError(
      'USAGE',
      `No output is called ${basename(path)}`,
      `The outputs are: ${outputs.map((one) => one.name).join(', ')}.`,
    );
  return compareOne(context, output, path, path);
}

function compareOne(context: Context, output: BuiltOutput, shipped: string, origin: string): ShippedComparison {
  const { digest } = sha256File(shipped);
  if (digest === output.digest.sha256) return { output: output.name, result: 'equal', origin, sha256: digest, difference: null };
  return {
    output: output.name,
    result: 'differs',
    origin,
    sha256: digest,
    difference: whereTheyDiffer(output.name, context.store.blobs.path(output.digest.sha256), shipped),
  };
}
