/** The smallest OCI bundle that runs one shell command sealed: what a person would write by hand for `runc run`. */
import { mkdirSync, writeFileSync } from 'node:fs';

export interface Mount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

export interface BundleOptions {
  readonly root: string;
  readonly script: string;
  readonly cwd: string;
  readonly env: readonly string[];
  readonly user: { readonly uid: number; readonly gid: number; readonly umask: number };
  readonly mounts: readonly Mount[];
  /** The id map of a user namespace; without it, none. */
  readonly idMap: readonly unknown[] | null;
  /** A cpuset list; without it, all. */
  readonly cpus: string | null;
}

const NAMESPACES = ['pid', 'ipc', 'uts', 'mount', 'network'];

export function bind(source: string, destination: string, ...options: string[]): Mount {
  return { destination, type: 'bind', source, options: ['bind', 'nosuid', 'nodev', ...options] };
}

/** Writes `FOLDER/config.json`. */
export function writeBundle(folder: string, options: BundleOptions): void {
  const none = { bounding: [], effective: [], permitted: [], inheritable: [], ambient: [] };
  const config = {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: options.user,
      args: ['/bin/sh', '-e', '-c', options.script],
      env: options.env,
      cwd: options.cwd,
      capabilities: none,
      noNewPrivileges: true,
    },
    root: { path: options.root, readonly: false },
    hostname: 'bare',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755', 'size=1024k'] },
      ...options.mounts,
    ],
    linux: {
      namespaces: [...NAMESPACES, ...(options.idMap === null ? [] : ['user'])].map((type) => ({ type })),
      ...(options.idMap === null ? {} : { uidMappings: options.idMap, gidMappings: options.idMap }),
      resources: { devices: [{ allow: false, access: 'rwm' }], ...(options.cpus === null ? {} : { cpu: { cpus: options.cpus } }) },
    },
  };
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/config.json`, JSON.stringify(config));
}

/** @param state where runc keeps its own files */
export function runBundle(folder: string, state: string, id: string): string[] {
  return ['runc', '--root', state, 'run', '--bundle', folder, id];
}
