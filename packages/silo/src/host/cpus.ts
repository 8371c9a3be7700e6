/** Which CPUs this process may use, and which of them a build gets. */
import { randomInt } from 'node:crypto';
import { SiloError } from '../failure.ts';

/** `0-2,5` → [0, 1, 2, 5]: the kernel's list format. */
function parseCpuList(text: string): number[] {
  return text
    .trim()
    .split(',')
    .flatMap((range) => {
      const [first, last] = range.split('-').map(Number);
      if (first === undefined || !Number.isInteger(first)) return [];
      return Array.from({ length: (last ?? first) - first + 1 }, (_, index) => first + index);
    });
}

/** As many CPUs as declared, starting anywhere, so that builds side by side do not all share the first. */
export function pickCpus(status: string, wanted: number): string {
  const allowed = parseCpuList(/^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? '0');
  if (wanted > allowed.length) {
    throw new SiloError(
      'HOST_CANNOT',
      `The definition declares ${wanted} CPUs and this host has ${allowed.length}`,
      'Build on a host with more CPUs, or declare fewer in resources.cpus (that makes another definition).',
    );
  }
  const start = randomInt(allowed.length);
  return Array.from({ length: wanted }, (_, index) => allowed[(start + index) % allowed.length] ?? 0)
    .sort((a, b) => a - b)
    .join(',');
}
