/**
 * A signing node leaves no core dump: it would hold its keys. Two locks, since neither covers all (core(5)): RLIMIT_CORE 0
 * stops files but not a core_pattern that is a pipe; an empty coredump_filter leaves nothing of the memory in either.
 * Children inherit both. What this cannot do from Node: mlock. A node that holds keys should have no swap, or an encrypted one.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';

/** prlimit only sets a number. */
const MAX_WAIT_MS = 10_000;

export interface NoCoreDumps {
  readonly limit: 0;
  /** Whether memory is left out of what a pipe would get. False on a kernel that was built without core dumps. */
  readonly filtered: boolean;
}

/** For this process and what it starts from now on; it cannot be taken back. @throws LockstepError HOST_CANNOT */
export function noCoreDumps(): NoCoreDumps {
  const filtered = emptyFilter();
  if (!isLimitZero()) {
    // Node has no setrlimit. The program gets our id and no more.
    const run = spawnSync('prlimit', ['--core=0:0', '--pid', String(process.pid)], { stdio: 'ignore', timeout: MAX_WAIT_MS });
    if (run.status !== 0 || !isLimitZero())
      throw new LockstepError(
        'HOST_CANNOT',
        'Core dumps cannot be switched off, and one would hold the keys of this node',
        'Install util-linux (it has prlimit), or start the node as: sh -c \'ulimit -c 0; exec "$@"\' sh lockstep signer …',
      );
  }
  return { limit: 0, filtered };
}

/** proc(5): soft and hard, the last two numbers of the line. */
function isLimitZero(): boolean {
  return /^Max core file size\s+0\s+0\s/m.test(readFileSync('/proc/self/limits', 'utf8'));
}

function emptyFilter(): boolean {
  try {
    writeFileSync('/proc/self/coredump_filter', '0');
    return true;
  } catch {
    return false;
  }
}
