/** Puts the inputs of a job where the build expects them, on the sandbox's own disk. */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  copyFileSync,
  fstatSync,
  lchownSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readSync,
  symlinkSync,
  utimesSync,
} from 'node:fs';
import { dirname, posix } from 'node:path';
import { SiloError } from '../failure.ts';
import type { Input, Job } from '../job/job.ts';
import { indexArchive, type IndexedMember } from '../tar/index.ts';
import { openRegular, toNewFile, writeAll } from '../tar/write.ts';

export interface Owner {
  /** Host ids, already shifted into the user namespace's range. */
  readonly uid: number;
  readonly gid: number;
}

/**
 * @param toHost maps a path inside the sandbox to the host path on the sandbox's disk, or null when it is elsewhere
 */
export function stageInputs(scratch: string, job: Job, owner: Owner, toHost: (target: string) => string | null): void {
  const mtime = job.fixed.sourceDate;
  for (const input of job.inputs) {
    if (input.as === 'bind') continue;
    const target = toHost(input.target);
    if (target === null)
      throw new SiloError(
        'JOB_INVALID',
        `The input ${input.path} is to go to ${input.target}, which is not on the sandbox's disk`,
        'Put inputs below the build directory or the home.',
      );
    makeParents(target, owner, mtime);
    if (input.as === 'file') stageFile(scratch, input, target, owner, mtime);
    else stageTree(scratch, input, target, owner, mtime, job.limits.scratchMb);
  }
}

function inputPath(scratch: string, input: Input): string {
  const path = posix.join(scratch, input.path);
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined)
    throw new SiloError('INPUT_MISSING', `The input ${input.path} is not in the scratch`, 'Stage every input that job.json names.');
  return path;
}

/** Directories above a target belong to the build user, unless they are there already. */
function makeParents(target: string, owner: Owner, mtime: number): void {
  const parent = dirname(target);
  const stat = lstatSync(parent, { throwIfNoEntry: false });
  if (stat?.isDirectory() === true) return;
  if (stat !== undefined)
    throw new SiloError('JOB_INVALID', `${parent} is not a directory`, 'Two inputs overlap; give them different targets.');
  makeParents(parent, owner, mtime);
  mkdirSync(parent, { mode: 0o755 });
  chownSync(parent, owner.uid, owner.gid);
  utimesSync(parent, mtime, mtime);
}

function stageFile(scratch: string, input: Input, target: string, owner: Owner, mtime: number): void {
  const source = inputPath(scratch, input);
  if (!lstatSync(source).isFile())
    throw new SiloError('INPUT_MISSING', `The input ${input.path} is not a regular file`, 'Stage it as a file, or as a tar for a tree.');
  copyFileSync(source, target, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  chmodSync(target, 0o644);
  chownSync(target, owner.uid, owner.gid);
  utimesSync(target, mtime, mtime);
}

function stageTree(scratch: string, input: Input, target: string, owner: Owner, mtime: number, scratchMb: number): void {
  const { fd } = openRegular(inputPath(scratch, input));
  try {
    const bounds = { files: 5_000_000, depth: 256, bytes: scratchMb * (1 << 20) };
    const members = indexArchive(fd, fstatSync(fd).size, bounds, input.strip);
    if (lstatSync(target, { throwIfNoEntry: false }) === undefined) {
      mkdirSync(target, { mode: 0o755 });
      chownSync(target, owner.uid, owner.gid);
    }
    unpack(fd, members, target, owner, mtime);
  } finally {
    closeSync(fd);
  }
}

/** `members` are checked: no climbing, no duplicates, nothing below a link. Directories get their times last. */
function unpack(fd: number, members: readonly IndexedMember[], root: string, owner: Owner, mtime: number): void {
  const chunk = Buffer.allocUnsafe(1 << 20);
  const directories: string[] = [root];
  for (const member of members) {
    const path = `${root}/${member.name}`;
    makeParents(path, owner, mtime);
    if (member.type === 'directory') {
      if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) mkdirSync(path);
      chmodSync(path, member.mode | 0o700);
      chownSync(path, owner.uid, owner.gid);
      directories.push(path);
      continue;
    }
    if (member.type === 'symlink') symlinkSync(member.link, path);
    else {
      const copy = (out: number): void => {
        for (let done = 0; done < member.size; ) {
          const count = readSync(fd, chunk, 0, Math.min(chunk.length, member.size - done), member.offset + done);
          if (count === 0) throw new SiloError('ARCHIVE_INVALID', `${member.name} is cut off`, 'Fetch it again.');
          writeAll(out, chunk.subarray(0, count));
          done += count;
        }
      };
      toNewFile(path, 0o600, copy, false);
      chmodSync(path, member.mode);
    }
    lchownSync(path, owner.uid, owner.gid);
    lutimesSync(path, mtime, mtime);
  }
  for (const directory of directories) utimesSync(directory, mtime, mtime);
}
