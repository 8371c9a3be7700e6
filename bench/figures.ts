/** Rates, latencies and sizes, measured within one process and taken in turns: A B A B …, as the timed rows are. */
import { type Checkpoint, median } from './measure.ts';

export type Unit = '/s' | 'MB/s' | 'ms' | 'µs' | 's' | 'bytes' | 'MiB' | 'hashes';

interface Figure {
  readonly name: string;
  readonly unit: Unit;
  /** One per run; null when a program is not installed. */
  readonly values: readonly number[] | null;
}

/** Figures of one kind side by side: the first is what the others are compared with. */
export interface FigureRow {
  readonly title: string;
  readonly figures: readonly Figure[];
}

export interface Meter {
  readonly name: string;
  /** One run; 0 is the warm-up, which may be shorter. null when a program is not installed. */
  readonly take: ((run: number) => Promise<Readonly<Record<string, number>>>) | null;
}

export interface Metered {
  readonly name: string;
  /** By what was measured, one value per run; null when a program is not installed. */
  readonly values: ReadonlyMap<string, readonly number[]> | null;
}

export async function meterSideBySide(meters: readonly Meter[], runs: number, checkpoint: Checkpoint): Promise<Metered[]> {
  const values = new Map(meters.map((one) => [one, new Map<string, number[]>()]));
  for (let run = 0; run <= runs; run++) {
    for (const one of meters) {
      if (one.take === null) continue;
      await checkpoint();
      const taken = Object.entries(await one.take(run));
      process.stderr.write(
        `  ${run === 0 ? 'warm-up' : `run ${run}`}: ${one.name}: ${taken.map(([key, value]) => `${key} ${short(value)}`).join(', ')}\n`,
      );
      if (run === 0) continue;
      const kept = values.get(one);
      for (const [key, value] of taken) kept?.set(key, [...(kept.get(key) ?? []), value]);
    }
  }
  return meters.map((one) => ({ name: one.name, values: one.take === null ? null : (values.get(one) ?? null) }));
}

/** @param keys what was measured under each; a meter that measures none of them is left out */
export function figureRow(title: string, unit: Unit, metered: readonly Metered[], ...keys: readonly string[]): FigureRow {
  const figures = metered.flatMap(({ name, values }): Figure[] => {
    if (values === null) return [{ name, unit, values }];
    return keys.flatMap((key) => {
      const found = values.get(key);
      return found === undefined ? [] : [{ name, unit, values: found }];
    });
  });
  return { title, figures };
}

export function figureLines({ title, figures }: FigureRow): string[] {
  const ours = figures[0];
  return figures.map(({ name, unit, values }, index) => {
    const first = `| ${index === 0 ? title : ''} | ${name} | `;
    if (values === null) return `${first} | not installed | | |`;
    const middle = median(values);
    const ratio = index === 0 || ours?.values == null ? '' : inTwoDigits(median(ours.values) / middle);
    const spread = values.length === 1 ? '' : `${inUnit(Math.min(...values), unit)} – ${inUnit(Math.max(...values), unit)}`;
    return `${first}${values.length} | ${inUnit(middle, unit)} | ${spread} | ${ratio} |`;
  });
}

function inUnit(value: number, unit: Unit): string {
  return unit === '/s' ? `${short(value)}/s` : `${short(value)} ${unit}`;
}

/** Three digits say all that a measurement can. */
function short(value: number): string {
  if (value >= 1000) return Math.round(Number(value.toPrecision(3))).toLocaleString('en-US');
  return Number.isInteger(value) ? String(value) : value.toPrecision(3);
}

function inTwoDigits(ratio: number): string {
  return ratio >= 10 ? ratio.toFixed(0) : ratio.toFixed(ratio >= 1 ? 1 : 2);
}

/** The value that this share of all is not above. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
