/** `lockstep farm reindex|migrate`: what is done to a farm that does not run. */
import { copyDatabase, copyObjects } from '@lockstep/control-plane/migrate/copy-farm';
import { openDatabase } from '@lockstep/control-plane/database/database';
import { silentJournal } from '@lockstep/control-plane/observe/journal';
import { reindex } from '@lockstep/control-plane/reindex/reindex';
import { openLogHome } from '@lockstep/log/sequence/log-home';
import { openSequencer } from '@lockstep/log/sequence/sequencer';
import { moveLogToObjects } from '@lockstep/log/sequence/move-log';
import { localWitnesses } from '@lockstep/log/witness/local-client';
import { openWitness } from '@lockstep/log/witness/witness-home';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { openObjects } from '@lockstep/store/objects/open-objects';
import { probeObjects } from '@lockstep/store/objects/probe';
import { connectFarm } from '../../farm/connect.ts';
import { type FarmHome, readFarmHome } from '../../farm/farm-config.ts';
import { databaseOf, openFarm, storageOf } from '../../farm/open-farm.ts';
import { type CommonOptions, runVerb } from '../../session.ts';
import { harmlessLine } from '../../show/harmless.ts';

export function farmReindex(folder: string, options: CommonOptions): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    const home = readFarmHome(folder);
    await refuseRunning(folder);
    const open = await openFarm(home, { journal: silentJournal, store: context.store, now: Date.now });
    try {
      const done = await reindex(open.farm);
      print(
        [
          `${done.submissions} submissions, ${done.documents} documents of the log, ${done.decided} decisions`,
          ...done.passedOver.map((one) => `passed over: ${harmlessLine(one)}`),
        ].join('\n'),
        { schema: 'lockstep-farm-reindex/v1', ...done },
      );
      return 0;
    } finally {
      await open.close();
    }
  });
}

/** @param from, to folders with a farm.toml each: what stands there is where everything is, and where it goes */
export function farmMigrate(from: string, to: string, options: CommonOptions): Promise<void> {
  return runVerb(options, async ({ context, print }) => {
    const [source, target] = [readFarmHome(from), readFarmHome(to)];
    await refuseRunning(from);
    requireSameLog(source, target);
    const warn = (error: unknown): void => context.progress.warn(error instanceof Error ? error.message : String(error));
    const places = placesOf(source, target);
    const opened: { close(): Promise<void> }[] = [];
    const open = async <T extends { close(): Promise<void> }>(opening: Promise<T>): Promise<T> => {
      const one = await opening;
      opened.push(one);
      return one;
    };
    try {
      const oldDatabase = await open(openDatabase(places.database.from, warn));
      const newDatabase = await open(openDatabase(places.database.to, warn));
      const oldObjects = await open(openObjects(places.storage.from));
      const newObjects = await open(openObjects(places.storage.to));
      await probeObjects(newObjects);
      if (await hasAny(newObjects))
        throw new LockstepError('FARM_UNUSABLE', `${newObjects.name} is not empty`, 'Copy into an empty place.');
      const rows = await copyDatabase(oldDatabase, newDatabase);
      const objects = await copyObjects(oldObjects, newObjects);
      const moved = source.config.log_in === 'folder' && target.config.log_in === 'storage' ? await moveLog(source, newObjects) : 0;
      const total = Object.values(rows).reduce((sum, one) => sum + one, 0);
      print(
        [
          `${total} rows, ${objects.objects} objects (${objects.bytes} bytes) copied, and read back${moved === 0 ? '' : `; the log, ${moved} files, is in the storage now`}`,
          `start it: lockstep farm run ${to}; do not start ${from} again`,
        ].join('\n'),
        { schema: 'lockstep-farm-migrate/v1', rows, ...objects, logFiles: moved },
      );
      return 0;
    } finally {
      await Promise.all(opened.map((one) => one.close()));
    }
  });
}

/** A farm of this folder that answers would go on writing. */
async function refuseRunning(folder: string): Promise<void> {
  let farm: ReturnType<typeof connectFarm>;
  try {
    farm = connectFarm({ farm: folder });
  } catch {
    // It never ran.
    return;
  }
  try {
    await farm.client.call('health', { signal: AbortSignal.timeout(3000) });
  } catch (error) {
    // Nobody listens: everything else may be a farm that is slow, or is spoken to by another name.
    if (error instanceof LockstepError && /ECONNREFUSED/.test(error.message)) return;
  } finally {
    farm.close();
  }
  throw new LockstepError('FARM_UNUSABLE', `The farm of ${folder} runs`, 'Stop it first.');
}

interface Places {
  readonly database: { readonly from: string; readonly to: string };
  readonly storage: { readonly from: string; readonly to: string };
}

/** LOCKSTEP_DATABASE is where it goes: where it comes from stands in the old farm.toml, or one database would be both. */
function placesOf(source: FarmHome, target: FarmHome): Places {
  const places = {
    database: { from: databaseOf(source, {}), to: databaseOf(target) },
    storage: { from: storageOf(source), to: storageOf(target) },
  };
  for (const [what, { from, to }] of Object.entries(places))
    if (from === to)
      throw new LockstepError(
        'FARM_UNUSABLE',
        `Both farms have the same ${what}`,
        `Name another ${what} in the new farm.toml: everything is copied, and the old one stays as it was.`,
      );
  return places;
}

function requireSameLog(source: FarmHome, target: FarmHome): void {
  if (source.at(source.config.log) === target.at(target.config.log)) return;
  throw new LockstepError(
    'FARM_UNUSABLE',
    'Both farms have to name the same folder of the log',
    'Set "log" in the new farm.toml to the old folder’s path: the log moves with its key, and never in two places.',
  );
}

async function hasAny(objects: Awaited<ReturnType<typeof openObjects>>): Promise<boolean> {
  for await (const _one of objects.list('')) return true;
  return false;
}

async function moveLog(source: FarmHome, objects: Awaited<ReturnType<typeof openObjects>>): Promise<number> {
  const root = source.at(source.config.log);
  const home = openLogHome(root);
  const own =
    source.config.witness === '' ? [] : [openWitness(source.at(source.config.witness), null, [home.key], () => Date.now() / 1000)];
  // Opened once more where it was: whatever a crash left is written, and nothing is behind what witnesses have seen.
  const sequencer = await openSequencer(
    home,
    home.witnesses === null ? null : localWitnesses(home.witnesses, home.origin, home.source, own),
  );
  await sequencer.close();
  return moveLogToObjects(root, objects, 'log');
}
