/** A farm's messages: JSON lines for whatever collects them, plain lines for a person at a terminal. */
import { type Journal, jsonJournal, type Level } from '@lockstep/control-plane/observe/journal';
import { harmlessLine } from '../show/harmless.ts';

/** @param now milliseconds since 1970 */
export function farmJournal(now: () => number, debug: boolean): Journal {
  const least: Level = debug ? 'debug' : 'info';
  const write = (text: string): void => void process.stderr.write(text);
  if (!process.stderr.isTTY || process.env['CI'] !== undefined) return jsonJournal(write, least, now);
  return (level, message, fields = {}) => {
    if (level === 'debug' && !debug) return;
    const told = Object.entries(fields).flatMap(([key, value]) =>
      value === undefined || value === null || key === 'stack'
        ? []
        : [`${key}=${key === 'job' ? String(value).slice(0, 12) : String(value)}`],
    );
    write(
      `${new Date(now()).toISOString().slice(11, 19)} ${level === 'info' ? '' : `${level}: `}${harmlessLine(message)} ${harmlessLine(told.join(' '))}\n`,
    );
  };
}
