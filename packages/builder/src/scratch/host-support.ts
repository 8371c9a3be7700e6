/** Why this host cannot have a kind of scratch, told from what it has; whether it works is only known by opening one. */
import { existsSync, readFileSync } from 'node:fs';
import { findOnPath } from '../fetch/program.ts';
import type { SecretKind } from './scratch-kind.ts';

export interface Refusal {
  readonly reason: string;
  readonly remedy: string;
}

export interface HostFacts {
  readonly root: boolean;
  /** Text of /proc/swaps: a header, then one line for each swap. */
  readonly swaps: string;
  /** MiB that programs can have without anything being pushed out. */
  readonly memoryMb: number;
  readonly hasProgram: (name: string) => boolean;
  readonly hasFile: (path: string) => boolean;
  readonly kernel: string;
  /** Text of /proc/misc: the drivers that are loaded, one on each line. */
  readonly drivers: string;
}

export function readHostFacts(): HostFacts {
  return {
    root: process.getuid?.() === 0,
    swaps: readFileSync('/proc/swaps', 'utf8'),
    memoryMb: Number(/^MemAvailable:\s*(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? '0') / 1024,
    hasProgram: (name) => findOnPath(name) !== null,
    hasFile: existsSync,
    kernel: readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim(),
    drivers: readFileSync('/proc/misc', 'utf8'),
  };
}

/** Program → Debian package. */
const PROGRAMS: Readonly<Record<SecretKind, Readonly<Record<string, string>>>> = {
  luks: { cryptsetup: 'cryptsetup-bin', 'mkfs.ext4': 'e2fsprogs' },
  'qemu-luks': { 'qemu-storage-daemon': 'qemu-system-common', 'mkfs.ext4': 'e2fsprogs' },
  tmpfs: {},
};
const NAMESPACE_PROGRAMS = { nsenter: 'util-linux', setpriv: 'util-linux', unshare: 'util-linux', mount: 'mount' };

/** @returns null when nothing speaks against it */
export function refusalOf(kind: SecretKind, sizeMb: number, host: HostFacts): Refusal | null {
  if (!host.root) return { reason: 'it needs root', remedy: 'Run as root.' };
  const missing = Object.entries({ ...PROGRAMS[kind], ...NAMESPACE_PROGRAMS }).filter(([program]) => !host.hasProgram(program));
  if (missing.length > 0) {
    const packages = new Set(missing.map(([, debian]) => debian));
    return {
      reason: `${missing.map(([program]) => program).join(', ')} not installed`,
      remedy: `apt-get install ${[...packages].join(' ')}`,
    };
  }
  return OWN_REFUSAL[kind](sizeMb, host);
}

const OWN_REFUSAL: Readonly<Record<SecretKind, (sizeMb: number, host: HostFacts) => Refusal | null>> = {
  luks: (_, host) =>
    hasDeviceMapper(host) ? null : { reason: 'the kernel has no dm-crypt', remedy: 'modprobe dm-crypt, or use a kernel that has it.' },
  'qemu-luks': (_, host) => (host.hasFile('/dev/fuse') ? null : { reason: 'there is no /dev/fuse', remedy: 'modprobe fuse' }),
  tmpfs(sizeMb, host) {
    // Also swap that is encrypted or in memory (zram): from here, nobody can be sure which it is.
    if (host.swaps.trim().split('\n').length > 1)
      return { reason: 'swap is on, so what is in memory can reach a disk', remedy: 'swapoff -a, or use another kind.' };
    if (sizeMb <= host.memoryMb) return null;
    return {
      reason: `it can take ${sizeMb} MiB, and ${Math.floor(host.memoryMb)} MiB of memory are free`,
      remedy: 'Lower resources.scratch_mb and output_mb, or use another kind.',
    };
  },
};

/** /dev/mapper/control proves nothing: cryptsetup makes it before it finds that no driver is behind it. */
function hasDeviceMapper({ drivers, kernel, hasFile }: HostFacts): boolean {
  const module = `/lib/modules/${kernel}/kernel/drivers/md/dm-crypt.ko`;
  return /\bdevice-mapper$/m.test(drivers) || ['', '.xz', '.zst', '.gz'].some((packed) => hasFile(module + packed));
}
