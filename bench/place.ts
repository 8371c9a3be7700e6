/** Where the measurements run: one temporary folder, the program under test, and the host's own programs. */
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import type { Command } from './measure.ts';

const REPOSITORY = `${import.meta.dirname}/..`;
const BUNDLE = `${REPOSITORY}/dist`;
const SYSTEM = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

export const EXAMPLE = `${REPOSITORY}/examples/cjson`;

/** What users install when it has been made (`npm run build`), else the sources. */
export const bundled = existsSync(`${BUNDLE}/lockstep.js`) && existsSync(`${BUNDLE}/lockstep-silo`);
const cli = bundled ? `${BUNDLE}/lockstep.js` : `${REPOSITORY}/packages/cli/src/main.ts`;
const launcher = bundled ? `${BUNDLE}/lockstep-silo` : `${REPOSITORY}/packages/silo/bin/lockstep-silo`;

/** @param home the store; without one, the user's own */
export function lockstep(args: readonly string[], home?: string): Command {
  return { argv: [process.execPath, cli, ...args], ...(home === undefined ? {} : { env: { LOCKSTEP_HOME: home } }) };
}

export function silo(args: readonly string[]): Command {
  return { argv: [launcher, ...args], env: { LOCKSTEP_NODE: process.execPath } };
}

export function findProgram(name: string): string | null {
  for (const folder of SYSTEM) {
    try {
      accessSync(`${folder}/${name}`, constants.X_OK);
      return `${folder}/${name}`;
    } catch {
      // not here: the next folder
    }
  }
  return null;
}

export interface Place {
  /** A new empty folder. */
  readonly folder: (name: string) => string;
  /** Frees the disk before the end: some rows leave gigabytes. */
  readonly drop: (folder: string) => void;
  readonly clear: () => void;
}

export function makePlace(): Place {
  const root = mkdtempSync(`${tmpdir()}/lockstep-bench-`);
  const drop = (folder: string): void => rmSync(folder, { recursive: true, force: true });
  return {
    folder(name) {
      const path = `${root}/${name}`;
      mkdirSync(path, { recursive: true });
      return path;
    },
    drop,
    clear: () => drop(root),
  };
}
