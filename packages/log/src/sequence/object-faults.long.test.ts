import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { folderObjects } from '@lockstep/store/objects/folder-objects';
import type { Objects } from '@lockstep/store/objects/objects';
import { objectFiles } from '../files/object-files.ts';
import { objectStaging } from '../files/object-staging.ts';
import { objectStateCells } from '../files/state-cells.ts';
import { readNote } from '../source/samples.ts';
import { objectSource } from '../source/object-source.ts';
import { monitorLog } from '../watch/monitor.ts';
import type { LogHome } from './log-home.ts';
import { diskOf } from './object-samples.ts';
import { document, emptyDisk, LOG_KEY, memoryHome, nextTurn, random, requireSound } from './samples.ts';
import { openSequencer, type Sequencer } from './sequencer.ts';

/** In memory where there is such a folder: every write is synced. */
const folder = mkdtempSync(`${existsSync('/dev/shm') ? '/dev/shm' : tmpdir()}/lockstep-faults-`);
after(() => rmSync(folder, { recursive: true, force: true }));

const broken = (what: string): LockstepError => new LockstepError('STORE_UNUSABLE', what, 'Try again.');
/** What a storage of this kind makes of a call, or of what it was told wrongly. */
const EXPECTED = new Set(['STORE_UNUSABLE', 'LOG_CORRUPT', 'LOG_INCONSISTENT', 'LOG_BUSY']);

interface Faults {
  readonly objects: Objects;
  /** How often a call failed, was answered too late, or was answered with a part of the bytes. */
  readonly seen: { failed: number; late: number; cut: number };
}

/** One call in five fails: without an effect, after it, or, where bytes are read, by giving only some of them. */
function faulty(inner: Objects, next: () => number): Faults {
  const seen = { failed: 0, late: 0, cut: 0 };
  const around = async <T>(act: () => Promise<T>): Promise<T> => {
    const dice = next();
    if (dice < 0.07) {
      seen.failed++;
      throw broken('the connection was refused');
    }
    const result = await act();
    if (dice >= 0.14) return result;
    seen.late++;
    throw broken('no answer within the time');
  };
  const objects: Objects = {
    ...inner,
    async get(key, maxBytes) {
      const bytes = await around(() => inner.get(key, maxBytes));
      if (bytes === null || next() >= 0.06) return bytes;
      seen.cut++;
      return bytes.subarray(0, Math.floor(next() * bytes.length));
    },
    put: (key, content) => around(() => inner.put(key, content)),
    swapIf: (key, expected, bytes) => around(() => inner.swapIf(key, expected, bytes)),
    remove: (key) => around(() => inner.remove(key)),
  };
  return { objects, seen };
}

/** Notes that were swapped in, and published, in their order: taken down where nothing fails any more. */
function observed(inner: Objects): { objects: Objects; swapped: string[]; published: string[] } {
  const [swapped, published]: [string[], string[]] = [[], []];
  const objects: Objects = {
    ...inner,
    async swapIf(key, expected, bytes) {
      const done = await inner.swapIf(key, expected, bytes);
      const text = Buffer.from(bytes).toString();
      if (done && key === 'log/state/checkpoint') swapped.push((JSON.parse(text) as { note: string }).note);
      if (done && key === 'log/public/checkpoint') published.push(text);
      return done;
    },
  };
  return { objects, swapped, published };
}

function homeOn(objects: Objects): LogHome {
  return {
    ...memoryHome(emptyDisk()),
    files: objectFiles(objects, 'log/public'),
    staging: objectStaging(objects, 'log/staging'),
    cells: objectStateCells(objects, 'log/state'),
    source: objectSource(objects, 'log/public'),
  };
}

async function patiently<T>(act: () => Promise<T>): Promise<T> {
  for (let attempt = 0; attempt < 5000; attempt++)
    try {
      return await act();
    } catch (error) {
      // A TypeError is a staged group that was read back as other bytes.
      if (!(error instanceof TypeError) && !(error instanceof LockstepError && EXPECTED.has(error.code))) throw error;
      await nextTurn();
    }
  throw new Error('not once in 5000 attempts');
}

/** One takes half a second. */
const SEEDS = 6;
const ROUNDS = 8;

test('a log on objects that fail one call in five, with two replicas that race and are opened again, keeps every acknowledged entry', async () => {
  const total = { failed: 0, late: 0, cut: 0 };
  for (let seed = 1; seed <= SEEDS; seed++) {
    const next = random(seed);
    const { objects: sound, swapped, published } = observed(folderObjects(`${folder}/objects-${seed}`));
    const faults = [faulty(sound, next), faulty(sound, next)];
    const acknowledged = new Map<string, number>();
    const replica = async ({ objects }: Faults, who: number): Promise<void> => {
      let sequencer: Sequencer = await patiently(() => openSequencer(homeOn(objects), null));
      for (let round = 0; round < ROUNDS; round++) {
        // As a process that died and was started again: nothing of what the first one knew is left.
        if (round % 5 === 4) sequencer = await patiently(() => openSequencer(homeOn(objects), null));
        const labels = [`${who}-${round}-a`, `${who}-${round}-b`, `both-${round}`];
        await Promise.all(
          labels.map(async (label) => {
            const index = await patiently(() => sequencer.append(document(label)));
            assert.equal(acknowledged.get(label) ?? index, index, `${label} has one place`);
            const covered = readNote(published.at(-1) ?? '', LOG_KEY).size;
            assert.ok(covered > index, `${label} got ${index} when ${covered} were published`);
            acknowledged.set(label, index);
          }),
        );
      }
      await patiently(() => sequencer.close());
    };
    await Promise.all(faults.map(replica)).catch((error: unknown) => {
      throw new Error(`seed ${seed}`, { cause: error });
    });
    const disk = await diskOf(sound, { swapped, published });
    assert.equal(requireSound(disk, acknowledged).size, acknowledged.size, 'nothing but what was acknowledged');
    assert.equal(acknowledged.size, ROUNDS * (2 + 2 + 1));
    const { entries } = await monitorLog(objectSource(sound, 'log/public'), LOG_KEY, [], null);
    assert.equal(entries.length, acknowledged.size);
    for (const { seen } of faults) for (const kind of ['failed', 'late', 'cut'] as const) total[kind] += seen[kind];
  }
  assert.ok(Math.min(total.failed, total.late, total.cut) > 100, JSON.stringify(total));
});
