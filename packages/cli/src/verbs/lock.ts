/** `lockstep lock`: resolve and write, or say that the lock is current. */
import { existsSync } from 'node:fs';
import { resolveLock } from '@lockstep/builder/lock/resolve';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { formatLock, type Lock } from '@lockstep/protocol/lock/lock';
import { writeDurably } from '@lockstep/store/durable';
import { type Project, readLock, readProject, shownPath } from '../project.ts';
import { type CommonOptions, runVerb } from '../session.ts';

interface Options extends CommonOptions {
  readonly update?: boolean;
}

export function lock(dir: string, options: Options): Promise<void> {
  return runVerb(options, async ({ context, print }) => {
    const project = readProject(dir);
    const current = options.update === true ? null : currentLock(project);
    const file = shownPath(project.lockFile);
    if (current !== null) {
      print(`${file} is current: ${summary(current)}. Use --update to resolve again.`, {
        schema: 'lockstep-lock-result/v1',
        file,
        changed: false,
        lock: current,
      });
      return 0;
    }
    const made = await resolveLock(context, project.manifest, project.manifestFile);
    writeDurably(project.lockFile, formatLock(made));
    print(`Wrote ${file}: ${summary(made)}.`, { schema: 'lockstep-lock-result/v1', file, changed: true, lock: made });
    return 0;
  });
}

/** A lock that is stale or broken is made again; that is what the command is for. */
function currentLock(project: Project): Lock | null {
  if (!existsSync(project.lockFile)) return null;
  try {
    const lock = readLock(project);
    // A directory changes without the manifest changing: look again each time.
    return lock.source.ref === 'directory' ? null : lock;
  } catch (error) {
    if (error instanceof LockstepError && (error.code === 'LOCK_STALE' || error.code === 'LOCK_INVALID' || error.code === 'JSON_INVALID'))
      return null;
    throw error;
  }
}

function summary(lock: Lock): string {
  const environment =
    lock.environment.kind === 'debian'
      ? `${lock.environment.packages.length} packages of ${lock.environment.suite}`
      : lock.environment.kind;
  const inputs = lock.inputs.length === 0 ? '' : `, ${lock.inputs.length} further inputs`;
  return `source ${lock.source.ref}, environment ${environment}${inputs}`;
}
