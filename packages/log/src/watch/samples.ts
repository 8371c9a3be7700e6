/** Logs to watch: grown in memory entry by entry, so that every size was published; and folders of public files. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { document, emptyDisk, type Disk, memoryHome } from '../sequence/samples.ts';
import { openSequencer } from '../sequence/sequencer.ts';
import type { CheckedSubmission } from '../sequence/submission.ts';
import type { LogSource } from '../source/log-source.ts';

/** Each group is published; `disk.published` has the checkpoints. */
export async function grownLog(groups: Iterable<readonly CheckedSubmission[]>): Promise<Disk> {
  const disk = emptyDisk();
  const sequencer = await openSequencer(memoryHome(disk), null);
  for (const group of groups) await Promise.all(group.map((one) => sequencer.append(one)));
  return disk;
}

export function oneByOne(count: number, label = 'e', from = 0): CheckedSubmission[][] {
  return Array.from({ length: count }, (_, at) => [document(`${label}${from + at}`)]);
}

/** The public files as a log's source, some of them changed on the way: null is gone. */
export function sourceOf(disk: Disk, change: (path: string, bytes: Uint8Array) => Uint8Array | null = (_, bytes) => bytes): LogSource {
  return {
    name: 'sample',
    read(path) {
      const bytes = disk.files.get(path);
      return Promise.resolve(bytes === undefined ? null : change(path, bytes));
    },
  };
}

export function writeFolder(root: string, disk: Disk): void {
  for (const [path, bytes] of disk.files) {
    mkdirSync(dirname(`${root}/${path}`), { recursive: true });
    writeFileSync(`${root}/${path}`, bytes);
  }
}
