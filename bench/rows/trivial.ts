/** Row 1: one `echo hi > out`. All overhead, no build. */
import { mkdirSync, readlinkSync, symlinkSync, lstatSync, writeFileSync } from 'node:fs';
import { bind, runBundle, writeBundle } from '../bundle.ts';
import { type Contestant, must } from '../measure.ts';
import { nixBuild } from '../nix.ts';
import { lockstep, findProgram, type Place } from '../place.ts';

const SCRIPT = 'echo hi > out';
const MANIFEST = `name = "trivial"
version = "1"

[source]
ref = "./src"

[environment]
kind = "host"

[build]
steps = [${JSON.stringify(SCRIPT)}]

[[outputs]]
files = "out"
`;

export function trivial(place: Place): Contestant[] {
  return [ours(place), nix(place), bareRunc(place), bubblewrap(place)];
}

function ours(place: Place): Contestant {
  const folder = place.folder('trivial/lockstep');
  const home = place.folder('trivial/home');
  mkdirSync(`${folder}/src`);
  writeFileSync(`${folder}/src/file`, 'source\n');
  writeFileSync(`${folder}/lockstep.toml`, MANIFEST);
  must(lockstep(['lock', '-q', folder], home));
  // The source's digest is remembered only once its files are two seconds old, which they are for a user.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2100);
  return { name: '`lockstep build --fresh`', needs: ['runc'], command: () => lockstep(['build', '--fresh', '-q', folder], home) };
}

function nix(place: Place): Contestant {
  const needs = ['nix-build'];
  if (findProgram('nix-build') === null) return { name: '`nix-build`, sandboxed', needs, command: () => ({ argv: [] }) };
  const build = nixBuild(place.folder('trivial/nix'));
  return { name: '`nix-build`, sandboxed', needs, command: (run) => build(String(run)) };
}

function bareRunc(place: Place): Contestant {
  const folder = place.folder('trivial/runc');
  const work = place.folder('trivial/runc-work');
  const root = `${folder}/root`;
  mkdirSync(root);
  for (const [name, target] of mergedLinks()) symlinkSync(target, `${root}/${name}`);
  writeBundle(folder, {
    root,
    script: SCRIPT,
    cwd: '/build',
    env: ['PATH=/usr/bin:/bin'],
    user: { uid: 0, gid: 0, umask: 0o22 },
    mounts: [bind('/usr', '/usr', 'ro'), bind(work, '/build', 'rw')],
    idMap: null,
    cpus: null,
  });
  const state = `${folder}/state`;
  return {
    name: 'bare `runc run`',
    needs: ['runc'],
    command: (run) => ({ argv: runBundle(folder, state, `bench-trivial-${process.pid}-${run}`) }),
  };
}

function bubblewrap(place: Place): Contestant {
  const work = place.folder('trivial/bwrap');
  const links = mergedLinks().flatMap(([name, target]) => ['--symlink', target, `/${name}`]);
  const mounts = ['--ro-bind', '/usr', '/usr', ...links, '--proc', '/proc', '--dev', '/dev', '--bind', work, '/build', '--chdir', '/build'];
  const argv = ['bwrap', '--unshare-all', '--die-with-parent', ...mounts, '/bin/sh', '-e', '-c', SCRIPT];
  return { name: '`bwrap`', needs: ['bwrap'], command: () => ({ argv }) };
}

/** /bin, /lib, … as the host has them: links into /usr. */
function mergedLinks(): [string, string][] {
  return ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32']
    .filter((name) => lstatSync(`/${name}`, { throwIfNoEntry: false })?.isSymbolicLink() === true)
    .map((name) => [name, readlinkSync(`/${name}`)]);
}
