/** Rows 2 and 3: a real Debian package, built; and the same build asked for again. */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, chownSync, writeFileSync, chmodSync } from 'node:fs';
import { basename } from 'node:path';
import { bind, runBundle, writeBundle } from '../bundle.ts';
import { BenchError, type Contestant, must } from '../measure.ts';
import { nixBuild } from '../nix.ts';
import { defaultStorePath } from '../../packages/store/src/store.ts';
import { EXAMPLE, findProgram, lockstep, type Place } from '../place.ts';

/** What is read of `lockstep build --dry-run`. */
interface Plan {
  readonly job: {
    readonly rootfs: { readonly path: string };
    readonly inputs: readonly { readonly target: string }[];
    readonly steps: readonly { readonly run: string }[];
    readonly fixed: { readonly path: string; readonly home: string; readonly uid: number; readonly gid: number };
  };
  readonly oci: {
    readonly process: {
      readonly env: readonly string[];
      readonly user: { readonly uid: number; readonly gid: number; readonly umask: number };
    };
    readonly linux: {
      readonly uidMappings: readonly { readonly hostID: number }[];
      readonly resources: { readonly cpu: { readonly cpus: string } };
    };
  };
}

/** The lock, the inputs and the environment, in the user's own store, where they stay. */
function prepare(out: string): void {
  if (!existsSync(`${EXAMPLE}/lockstep.lock`)) must(lockstep(['lock', '-q', EXAMPLE]));
  must(lockstep(['build', '-q', '--out', out, EXAMPLE]));
}

export function realBuild(place: Place): Contestant[] {
  const out = place.folder('cjson/out');
  prepare(out);
  const plan = JSON.parse(must(lockstep(['build', '--dry-run', EXAMPLE]))) as Plan;
  return [
    { name: '`lockstep build --fresh`', needs: ['runc'], command: () => lockstep(['build', '--fresh', '-q', '--out', out, EXAMPLE]) },
    bareRunc(place, plan),
  ];
}

/**
 * The same steps, root file system, user, environment variables and CPUs. It mounts in a namespace of its own, so that
 * every mount and loop device ends with the process, however it ends.
 */
function bareRunc(place: Place, plan: Plan): Contestant {
  const { job, oci } = plan;
  const state = place.folder('cjson/state');
  const sources = sourceFiles();
  const base = oci.linux.uidMappings[0]?.hostID ?? 0;
  const owner = { uid: base + job.fixed.uid, gid: base + job.fixed.gid };
  const buildMount = `/${job.fixed.path.split('/')[1] ?? ''}`;
  let folder = '';
  return {
    name: 'bare `runc run` of the same steps',
    needs: ['runc', 'unshare', 'mount'],
    command: (run) => {
      folder = place.folder(`cjson/runc-${run}`);
      for (const part of ['lower', 'root', 'upper', 'overlay', 'build', 'home', 'tmp']) mkdirSync(`${folder}/${part}`);
      enterable(folder);
      // The image belongs to the mapped root; so has to the layer over it.
      for (const part of ['upper', 'root']) chownSync(`${folder}/${part}`, base, base);
      for (const part of ['build', 'home']) chownSync(`${folder}/${part}`, owner.uid, owner.gid);
      chmodSync(`${folder}/tmp`, 0o1777);
      const work = `${folder}/build${job.fixed.path.slice(buildMount.length)}`;
      mkdirSync(work, { recursive: true });
      chownSync(work, owner.uid, owner.gid);
      for (const input of job.inputs) {
        const name = basename(input.target);
        const blob = sources.get(name);
        if (blob === undefined) throw new BenchError(`the lock has no source ${name}`);
        copyFileSync(blob, `${work}/${name}`);
        chownSync(`${work}/${name}`, owner.uid, owner.gid);
      }
      writeBundle(folder, {
        root: `${folder}/root`,
        script: job.steps.map((step) => `(${step.run}\n)`).join('\n'),
        cwd: job.fixed.path,
        env: oci.process.env,
        user: oci.process.user,
        mounts: [
          bind(`${folder}/build`, buildMount, 'rw'),
          bind(`${folder}/home`, job.fixed.home, 'rw'),
          bind(`${folder}/tmp`, '/tmp', 'rw'),
          { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: ['nosuid', 'noexec', 'nodev', 'mode=1777'] },
        ],
        idMap: oci.linux.uidMappings,
        cpus: oci.linux.resources.cpu.cpus,
      });
      writeFileSync(`${folder}/start`, startScript(job.rootfs.path, folder));
      const id = `bench-cjson-${process.pid}-${run}`;
      const argv = [
        'unshare',
        '--mount',
        '--propagation',
        'private',
        '--',
        '/bin/sh',
        '-eu',
        `${folder}/start`,
        ...runBundle(folder, state, id),
      ];
      return { argv };
    },
    after: () => {
      const built =
        existsSync(`${folder}/build`) && readdirSync(`${folder}/build`, { recursive: true }).some((name) => String(name).endsWith('.deb'));
      place.drop(folder);
      if (!built) throw new BenchError('bare runc built no .deb');
    },
  };
}

/** Every folder above has to let the mapped user through, which a temporary folder does not. */
function enterable(folder: string): void {
  chmodSync(folder, 0o711);
  chmodSync(`${folder}/..`, 0o711);
  chmodSync(`${folder}/../..`, 0o711);
}

function startScript(image: string, folder: string): string {
  const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
  const layers = `lowerdir=${folder}/lower,upperdir=${folder}/upper,workdir=${folder}/overlay`;
  return [
    `mount -o loop,ro,noload,nosuid,nodev ${quote(image)} ${quote(`${folder}/lower`)}`,
    `mount -t overlay -o ${quote(layers)} overlay ${quote(`${folder}/root`)}`,
    'exec "$@"',
    '',
  ].join('\n');
}

/** Name → blob of the content store. */
function sourceFiles(): Map<string, string> {
  const lock = JSON.parse(readFileSync(`${EXAMPLE}/lockstep.lock`, 'utf8')) as { source: { files: { to: string; sha256: string }[] } };
  const home = defaultStorePath(process.env);
  return new Map(lock.source.files.map(({ to, sha256 }) => [to, `${home}/blobs/${sha256.slice(0, 2)}/${sha256.slice(2)}`]));
}

/** Row 3. A build whose environment is the host's is never answered from the store, so this is cjson. */
export function cachedBuild(place: Place): Contestant[] {
  const out = place.folder('cached/out');
  prepare(out);
  const nix = findProgram('nix-build') === null ? () => ({ argv: [] }) : nixBuild(place.folder('cached/nix'));
  return [
    { name: '`lockstep build`, nothing to do', needs: [], command: () => lockstep(['build', '-q', '--out', out, EXAMPLE]) },
    { name: '`nix-build` of a built derivation', needs: ['nix-build'], command: () => nix('same') },
  ];
}
