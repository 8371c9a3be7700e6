/** Progress as a live tree on a terminal: what runs, for how long, and the last line that it printed. */
import { lastLines, type ShownProgress } from './plain.ts';
import { harmless, harmlessLines } from './harmless.ts';

interface Row {
  readonly title: string;
  readonly since: number;
  detail: string;
  line: string;
}

const FRAME_MS = 100;
const HIDE_CURSOR = '\u001b[?25l';
const SHOW_CURSOR = '\u001b[?25h';

export interface Terminal {
  write(text: string): void;
  columns(): number;
}

export function treeProgress(terminal: Terminal, clock: () => number, color: boolean): ShownProgress {
  const paint = (code: number, text: string): string => (color ? `\u001b[${code}m${text}\u001b[0m` : text);
  const rows: Row[] = [];
  let drawn = 0;
  let tail = '';
  const clear = (): string => (drawn === 0 ? '' : `\u001b[${drawn}A\u001b[0J`);
  const fit = (text: string): string => {
    const room = Math.max(20, terminal.columns() - 1);
    return [...text].length > room ? `${[...text].slice(0, room - 1).join('')}…` : text;
  };
  const frame = (): string[] =>
    rows.flatMap((row) => {
      const seconds = `${(clock() - row.since).toFixed(1)} s`;
      const head = fit(`◌ ${row.title}${row.detail === '' ? '' : ` · ${row.detail}`} · ${seconds}`);
      return row.line === '' ? [head] : [head, paint(2, fit(`  └ ${row.line}`))];
    });
  const draw = (above = ''): void => {
    const lines = frame();
    terminal.write(`${clear()}${above}${lines.map((line) => `${line}\n`).join('')}`);
    drawn = lines.length;
  };
  const timer = setInterval(() => {
    if (rows.length > 0) draw();
  }, FRAME_MS);
  timer.unref();
  terminal.write(HIDE_CURSOR);
  const remove = (row: Row): void => {
    const at = rows.indexOf(row);
    if (at >= 0) rows.splice(at, 1);
  };
  return {
    start(title) {
      const row: Row = { title: harmless(title), since: clock(), detail: '', line: '' };
      rows.push(row);
      draw();
      const elapsed = (): string => paint(2, `${(clock() - row.since).toFixed(1)} s`);
      return {
        update(detail) {
          row.detail = harmless(detail).replaceAll('\n', ' ');
        },
        output(bytes) {
          row.line =
            harmlessLines(bytes)
              .filter((line) => line.trim() !== '')
              .at(-1)
              ?.replaceAll('\t', ' ') ?? row.line;
        },
        done(detail) {
          remove(row);
          draw(`${paint(32, '✔')} ${row.title}${detail === undefined ? '' : ` (${detail})`} ${elapsed()}\n`);
        },
        failed() {
          remove(row);
          draw(`${paint(31, '✘')} ${row.title} ${elapsed()}\n`);
        },
      };
    },
    note: (text) => draw(`${harmless(text)}\n`),
    warn: (text) => draw(`${paint(33, 'warning:')} ${harmless(text)}\n`),
    tail(bytes) {
      tail = lastLines(bytes);
    },
    finish() {
      clearInterval(timer);
      terminal.write(`${clear()}${SHOW_CURSOR}`);
      drawn = 0;
      if (tail !== '') terminal.write(`last lines of the failing step:\n${tail}\n`);
      tail = '';
    },
  };
}
