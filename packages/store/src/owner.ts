/**
 * Who owns what lies in a folder: a process, by its id and the time at which it started. An id alone is given again, in a
 * container that is restarted nearly always to the same program. Ids are those of one pid namespace: a folder belongs to
 * the processes of one machine, or of one container.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** Digits of the start time in hex: clock ticks since the machine was booted. */
const START_DIGITS = 12;

/** `PID-` and hex digits: when it started, then what tells this from everything else that it owns. */
export function ownerTag(): string {
  return `${process.pid}-${(startOf(process.pid) ?? 0).toString(16).padStart(START_DIGITS, '0')}${randomBytes(6).toString('hex')}`;
}

/** Whether the process that made this tag still lives. null when it is no tag. */
export function ownerLives(tag: string): boolean | null {
  const match = /^(\d+)-([0-9a-f]+)/.exec(tag);
  if (match === null) return null;
  const pid = Number(match[1]);
  if (!isAlive(pid)) return false;
  const start = startOf(pid);
  const digits = match[2] ?? '';
  // Written without a start time, or where /proc is not: the id has to do.
  if (start === null || digits.length <= START_DIGITS) return true;
  return Number.parseInt(digits.slice(0, START_DIGITS), 16) === start;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** proc(5): field 22 of /proc/PID/stat; the name in field 2 may hold anything, so it is counted from the last bracket. */
function startOf(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const value = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
    return Number.isSafeInteger(value) ? value : null;
  } catch {
    return null;
  }
}
