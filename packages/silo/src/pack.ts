/** One directory as one canonical tar, without a sandbox: for sources that are already on this machine. */
import { packTree } from './seal/outputs.ts';
import { walkTree } from './seal/walk.ts';
import { toNewFile } from './tar/write.ts';

/** Bounds of a source tree: the Linux kernel has 90,000 files and 1.5 GB. */
const MAX_FILES = 2_000_000;
const MAX_BYTES = 64 * 2 ** 30;
const MAX_DEPTH = 128;

/** @param exclude names directly below `directory` to leave out. Times are 0, permissions 0644 or 0755. */
export function packDirectory(
  directory: string,
  file: string,
  exclude: ReadonlySet<string>,
): { sha256: string; size: number; members: number } {
  const members = walkTree(directory, { files: MAX_FILES, depth: MAX_DEPTH, bytes: MAX_BYTES, rootfs: false, plainModes: true, exclude });
  return { ...toNewFile(file, 0o644, (fd) => packTree(directory, members, fd, 0)), members: members.length };
}
