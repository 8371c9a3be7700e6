/** One Markdown table with everything that is needed to judge it: when, where, how often, how far apart. */
import { readFileSync } from 'node:fs';
import { availableParallelism, release, totalmem } from 'node:os';
import { type FigureRow, figureLines } from './figures.ts';
import { median, type Timed } from './measure.ts';
import { bundled } from './place.ts';
import type { Peak } from './rows/memory.ts';

export interface TimedRow {
  readonly title: string;
  readonly runs: number;
  readonly results: readonly Timed[];
}

export interface PeakRow {
  readonly title: string;
  readonly peaks: readonly Peak[];
}

const COLUMNS = ['| What | With | Runs | Median | From – to | Ratio |', '| --- | --- | ---: | ---: | ---: | ---: |'];

/** When and where. */
export function heading(): string {
  const model = /^model name\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? process.arch;
  const memory = (totalmem() / 2 ** 30).toFixed(0);
  return `${new Date().toISOString().slice(0, 16)}Z; ${model}, ${availableParallelism()} cores, ${memory} GiB; Linux ${release()}; Node.js ${process.version}; Lockstep ${bundled ? 'as bundled' : 'from source'}.`;
}

export function timedTable(rows: readonly (TimedRow | PeakRow)[]): string {
  const lines = [
    'Wall time of the whole process; median of interleaved runs after a warm-up. "Ratio" is Lockstep over the other: above 1, Lockstep takes longer.',
    '',
    ...COLUMNS,
  ];
  for (const row of rows) lines.push(...('peaks' in row ? peakLines(row) : timedLines(row)));
  return lines.join('\n');
}

export function figureTable(rows: readonly FigureRow[]): string {
  return [
    'Within one process, from source; median of interleaved runs after a warm-up. "Ratio" is the first line of a row over this one.',
    '',
    ...COLUMNS,
    ...rows.flatMap(figureLines),
  ].join('\n');
}

function timedLines(row: TimedRow): string[] {
  const ours = row.results[0]?.times;
  return row.results.map(({ name, times }, index) => {
    const first = `| ${index === 0 ? row.title : ''} | ${name} | `;
    if (times === null) return `${first} | not installed | | |`;
    const middle = median(times);
    const ratio = index === 0 || ours === undefined || ours === null ? '' : (median(ours) / middle).toFixed(2);
    return `${first}${row.runs} | ${duration(middle)} | ${duration(Math.min(...times))} – ${duration(Math.max(...times))} | ${ratio} |`;
  });
}

function peakLines(row: PeakRow): string[] {
  return row.peaks.map(({ name, bytes }, index) => {
    const value = bytes === null ? 'not installed' : `${(bytes / 2 ** 20).toFixed(0)} MiB`;
    return `| ${index === 0 ? row.title : ''} | ${name} | ${bytes === null ? '' : '1'} | ${value} | | |`;
  });
}

function duration(milliseconds: number): string {
  if (milliseconds >= 10_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  if (milliseconds >= 1000) return `${(milliseconds / 1000).toFixed(2)} s`;
  return `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`;
}
