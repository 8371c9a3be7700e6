/** What every verb shares: settings from the environment, a store, progress, and one way to end. */
import { existsSync } from 'node:fs';
import type { Context, Settings } from '@lockstep/builder/context';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { farmIdWarnings, isFarmId, FARM_ID_FORM } from '@lockstep/protocol/farm-id/farm-id';
import { defaultStorePath, openStore, type Store } from '@lockstep/store/store';
import { defaultKeyFile } from '@lockstep/builder/attest/key';
import { isScratchKind, SCRATCH_KINDS } from '@lockstep/builder/scratch/scratch-kind';
import { exitCodeOf } from './exit-code.ts';
import { harmless } from './show/harmless.ts';
import { plainProgress, type ShownProgress } from './show/plain.ts';
import { treeProgress } from './show/tree.ts';
import { VERSION } from './version.ts';

export interface CommonOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly offline?: boolean;
}

export interface Session {
  readonly context: Context;
  /** Results: text for people, or the one JSON document of `--json`. */
  readonly print: (text: string, data: Record<string, unknown>) => void;
}

/** A farm that nobody has named yet. */
const UNNAMED_FARM = 'unnamed-home-1';

function settingsFrom(env: Readonly<Record<string, string | undefined>>, offline: boolean, store: Store): Settings {
  const farmId = env['LOCKSTEP_FARM_ID'] ?? UNNAMED_FARM;
  if (!isFarmId(farmId))
    throw new LockstepError('FARM_ID_INVALID', `LOCKSTEP_FARM_ID is ${JSON.stringify(farmId.slice(0, 80))}`, `Use ${FARM_ID_FORM}.`);
  const runtime = env['LOCKSTEP_RUNTIME'] ?? 'runc';
  if (runtime !== 'runc' && runtime !== 'crun')
    throw new LockstepError('USAGE', `LOCKSTEP_RUNTIME is ${JSON.stringify(runtime)}`, 'Use runc or crun.');
  const scratch = env['LOCKSTEP_SCRATCH'] ?? 'plain';
  if (!isScratchKind(scratch))
    throw new LockstepError(
      'USAGE',
      `LOCKSTEP_SCRATCH is ${JSON.stringify(scratch.slice(0, 80))}`,
      `Use one of ${SCRATCH_KINDS.join(', ')}.`,
    );
  return {
    farmId,
    runtime,
    scratch,
    snapshots: (env['LOCKSTEP_SNAPSHOT'] ?? '').split(/\s+/).filter((url) => url !== ''),
    allowPrivate: env['LOCKSTEP_FETCH_PRIVATE'] === '1',
    silo: findSilo(),
    offline,
    version: VERSION,
    keyFile: env['LOCKSTEP_KEY'] ?? defaultKeyFile(store),
  };
}

/** Beside the bundle when installed, in its package when run from the repository. */
function findSilo(): string {
  const here = import.meta.dirname;
  const found = [`${here}/lockstep-silo`, `${here}/../../silo/bin/lockstep-silo`].find((path) => existsSync(path));
  if (found === undefined) throw new LockstepError('HOST_CANNOT', 'The silo is not beside this program', 'Install the package again.');
  return found;
}

/** Runs one verb; every error ends here, as text with a hint or as data. */
export async function runVerb(options: CommonOptions, verb: (session: Session) => Promise<number> | number): Promise<void> {
  const cancel = new AbortController();
  const progress = makeProgress(options);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => cancel.abort());
  }
  const print: Session['print'] = (text, data) => {
    progress.finish();
    process.stdout.write(options.json === true ? `${JSON.stringify(data)}\n` : text === '' ? '' : `${harmless(text)}\n`);
  };
  try {
    const store = openStore(defaultStorePath(process.env));
    const settings = settingsFrom(process.env, options.offline === true, store);
    if (process.env['LOCKSTEP_FARM_ID'] !== undefined) for (const warning of farmIdWarnings(settings.farmId)) progress.warn(warning);
    const context: Context = {
      store,
      settings,
      progress,
      now: () => Date.now() / 1000,
      cancelled: cancel.signal,
    };
    process.exitCode = await verb({ context, print });
    progress.finish();
  } catch (error) {
    progress.finish();
    process.exitCode = report(error, options.json === true);
  }
}

function makeProgress(options: CommonOptions): ShownProgress {
  const clock = (): number => performance.now() / 1000;
  const live = process.stderr.isTTY && process.env['CI'] === undefined && process.env['TERM'] !== 'dumb' && options.quiet !== true;
  if (!live) return plainProgress((text) => process.stderr.write(text), clock, options.quiet === true);
  const color = process.env['NO_COLOR'] === undefined;
  return treeProgress({ write: (text) => process.stderr.write(text), columns: () => process.stderr.columns ?? 80 }, clock, color);
}

export function report(error: unknown, json: boolean): number {
  if (!(error instanceof LockstepError)) {
    process.stderr.write(`lockstep: a fault of this program: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    if (json)
      process.stdout.write(
        `${JSON.stringify({ schema: 'lockstep-error/v1', error: { code: 'INTERNAL', message: String(error), hint: 'Report this.', at: null, cause: null } })}\n`,
      );
    return 1;
  }
  if (json) process.stdout.write(`${JSON.stringify({ schema: 'lockstep-error/v1', error: error.toData() })}\n`);
  const where = error.at === null ? '' : `${error.at.file}:${error.at.line}:${error.at.column}: `;
  const reason = error.reason === null ? '' : ` [${error.reason}]`;
  process.stderr.write(`${harmless(`error: ${where}${error.message}${reason}`)}\n${harmless(`hint: ${error.hint}`)}\n`);
  return exitCodeOf(error.code);
}
