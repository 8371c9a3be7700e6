/** Progress as ordered lines: for CI, pipes and files. One line when something begins, one when it ends. */
import type { Progress } from '@lockstep/builder/context';
import { harmless, harmlessLines } from './harmless.ts';

export interface ShownProgress extends Progress {
  /** Stop drawing, and show what a failure left: the last lines of the step. */
  finish(): void;
}

const TAIL_LINES = 20;

export function plainProgress(write: (text: string) => void, clock: () => number, quiet: boolean): ShownProgress {
  const say = (text: string): void => {
    if (!quiet) write(`${text}\n`);
  };
  let tail = '';
  return {
    start(title) {
      const since = clock();
      const elapsed = (): string => `${(clock() - since).toFixed(1)} s`;
      const name = harmless(title);
      say(`-- ${name}`);
      return {
        update: (detail) => say(`   ${harmless(detail)}`),
        output: () => {},
        done: (detail) => say(`ok ${name}${detail === undefined ? '' : ` (${detail})`} ${elapsed()}`),
        failed: () => say(`!! ${name} ${elapsed()}`),
      };
    },
    note: (text) => say(harmless(text)),
    warn: (text) => write(`warning: ${harmless(text)}\n`),
    tail(bytes) {
      tail = lastLines(bytes);
    },
    finish() {
      if (tail !== '') write(`last lines of the failing step:\n${tail}\n`);
      tail = '';
    },
  };
}

export function lastLines(bytes: Buffer): string {
  return harmlessLines(bytes)
    .filter((line) => line.trim() !== '')
    .slice(-TAIL_LINES)
    .map((line) => `  | ${line}`)
    .join('\n');
}
