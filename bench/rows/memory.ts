/** Row 6: how much memory it takes to hash and pack an output of 2 GiB. It should not depend on the size. */
import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { must } from '../measure.ts';
import { peaks } from '../memory.ts';
import { findProgram, lockstep, type Place } from '../place.ts';

const BYTES = 2 * 2 ** 30;
const MANIFEST = `name = "huge"
version = "1"

[source]
ref = "./src"

[environment]
kind = "host"

[build]
steps = ["mkdir tree && head -c ${BYTES} /dev/zero > tree/big"]

[[outputs]]
tree = "tree"
name = "tree.tar"

[resources]
output_mb = 4096
`;

export interface Peak {
  readonly name: string;
  /** null when a program is not installed. */
  readonly bytes: number | null;
}

export async function memory(place: Place): Promise<Peak[]> {
  const folder = place.folder('memory');
  const home = `${folder}/home`;
  mkdirSync(`${folder}/src`);
  writeFileSync(`${folder}/src/file`, 'source\n');
  writeFileSync(`${folder}/lockstep.toml`, MANIFEST);
  must(lockstep(['lock', '-q', folder], home));
  const peak = await peaks(lockstep(['build', '-q', '--fresh', folder], home), roleOf);
  place.drop(home);
  place.drop(`${folder}/lockstep-out`);
  return [
    { name: 'the CLI (hashes, keeps, copies out)', bytes: peak.get('cli') ?? null },
    { name: 'the silo (packs and hashes)', bytes: peak.get('silo') ?? null },
    { name: '`tar … \\| openssl dgst`, both together', bytes: reference(folder) },
  ];
}

function roleOf(commandLine: string): string | null {
  if (/\/(silo\.js|silo\/\S*src\/main\.ts) run /.test(commandLine))
    return commandLine.startsWith('setpriv') || commandLine.startsWith('unshare') ? null : 'silo';
  return /\/(lockstep\.js|cli\/src\/main\.ts) build /.test(commandLine) ? 'cli' : null;
}

/** Maximum resident set size, as GNU time reports it, of each of the two. */
function reference(folder: string): number | null {
  if (['time', 'tar', 'openssl'].some((name) => findProgram(name) === null)) return null;
  mkdirSync(`${folder}/reference`);
  const fd = openSync(`${folder}/reference/big`, 'w');
  ftruncateSync(fd, BYTES);
  closeSync(fd);
  const timed = (name: string): string => `/usr/bin/time -v -o "$0/${name}.time"`;
  const script = `${timed('tar')} tar --sort=name -C "$0" -cf - reference | ${timed('openssl')} openssl dgst -sha256; cat "$0/tar.time" "$0/openssl.time"`;
  const said = must({ argv: ['/bin/sh', '-eu', '-c', script, folder] });
  return [...said.matchAll(/Maximum resident set size \(kbytes\): (\d+)/g)].reduce((sum, match) => sum + Number(match[1]) * 1024, 0);
}
