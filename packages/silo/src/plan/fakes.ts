/** Files that stand in for what /proc and /sys would tell about the host: CPU count as declared, model and memory as planned. */
import type { Job } from '../job/job.ts';

export interface Fake {
  /** Path below the fakes folder. */
  readonly name: string;
  readonly content: string;
}

export interface HostFacts {
  readonly cpuinfo: string;
  readonly stat: string;
  readonly meminfo: string;
}

export function fakeFiles(job: Job, host: HostFacts): Fake[] {
  const { cpus } = job.fixed;
  const range = cpus === 1 ? '0\n' : `0-${cpus - 1}\n`;
  const fakes: Fake[] = [
    { name: 'cpuinfo', content: cpuinfo(host.cpuinfo, cpus, job.ambient.cpuModel) },
    { name: 'stat', content: stat(host.stat, cpus) },
    { name: 'sys/devices/system/cpu/online', content: range },
    { name: 'sys/devices/system/cpu/possible', content: range },
    { name: 'sys/devices/system/cpu/present', content: range },
  ];
  for (let cpu = 0; cpu < cpus; cpu++) fakes.push({ name: `sys/devices/system/cpu/cpu${cpu}/online`, content: '1\n' });
  if (job.ambient.memoryTotalMb !== null) {
    fakes.push({
      name: 'meminfo',
      content: host.meminfo.replace(/^MemTotal:.*$/m, `MemTotal:       ${job.ambient.memoryTotalMb * 1024} kB`),
    });
  }
  return fakes;
}

function cpuinfo(text: string, cpus: number, model: string | null): string {
  const blocks = text.split(/\n\n/).filter((block) => block.startsWith('processor'));
  const first = blocks[0] ?? 'processor\t: 0';
  return Array.from({ length: cpus }, (_, cpu) => {
    const block = (blocks[cpu] ?? first).replace(/^processor(\s*):.*$/m, `processor$1: ${cpu}`);
    return model === null ? block : block.replace(/^model name(\s*):.*$/m, `model name$1: ${model}`);
  })
    .join('\n\n')
    .concat('\n\n');
}

function stat(text: string, cpus: number): string {
  return text
    .split('\n')
    .filter((line) => !/^cpu(\d+) /.test(line) || Number(/^cpu(\d+) /.exec(line)?.[1]) < cpus)
    .join('\n');
}
