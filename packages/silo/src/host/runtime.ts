/** Which OCI runtime this host has, and how to call it. runc by default; crun where asked for and the host allows. */
import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { SiloError } from '../failure.ts';

export type RuntimeName = 'runc' | 'crun';

export interface Runtime {
  readonly name: RuntimeName;
  readonly path: string;
}

const DIRECTORIES = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** Absolute path of a program in the system's own directories; not in PATH, which the caller of the silo controls. */
export function findProgram(name: string): string | null {
  for (const directory of DIRECTORIES) {
    const path = `${directory}/${name}`;
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // not here: the next directory
    }
  }
  return null;
}

export function findRuntime(wanted: RuntimeName): Runtime {
  const path = findProgram(wanted);
  if (path === null)
    throw new SiloError('HOST_CANNOT', `The OCI runtime ${wanted} is not installed`, `Install it: apt-get install ${wanted}`);
  return { name: wanted, path };
}

/** First line of `RUNTIME --version`; asked for while the sandbox is being prepared. */
export function runtimeVersion(runtime: Runtime): Promise<string> {
  return new Promise((resolve) => {
    execFile(runtime.path, ['--version'], { encoding: 'utf8' }, (_error, stdout) => resolve(stdout.split('\n')[0]?.trim() || runtime.name));
  });
}
