/** What the build prints: raw bytes to `transcript`, hashed and bounded. */
import { createHash } from 'node:crypto';
import { closeSync, constants, fsyncSync, openSync, writeSync } from 'node:fs';

export interface Transcript {
  /** @returns false once the bound is reached; the rest is not kept */
  write(bytes: Buffer): boolean;
  close(): { size: number; sha256: string };
  /** Whether the build was told that its disk is full, as far as can be told from what it printed. */
  sawDiskFull(): boolean;
}

export function openTranscript(path: string, limit: number): Transcript {
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o644);
  const hash = createHash('sha256');
  let size = 0;
  let diskFull = false;
  return {
    write(bytes) {
      const kept = bytes.subarray(0, Math.max(0, limit - size));
      if (kept.length > 0) {
        writeSync(fd, kept);
        hash.update(kept);
        size += kept.length;
        diskFull ||= kept.includes('No space left on device');
      }
      return kept.length === bytes.length;
    },
    close() {
      fsyncSync(fd);
      closeSync(fd);
      return { size, sha256: hash.digest('hex') };
    },
    sawDiskFull: () => diskFull,
  };
}
