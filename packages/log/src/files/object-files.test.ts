import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { folderObjects } from '@lockstep/store/objects/folder-objects';
import type { Objects } from '@lockstep/store/objects/objects';
import { objectSource } from '../source/object-source.ts';
import { eachAtMost } from './each-at-most.ts';
import { objectFiles } from './object-files.ts';
import { objectStaging } from './object-staging.ts';
import { folderStateCells, objectStateCells } from './state-cells.ts';

const folder = mkdtempSync(`${tmpdir()}/lockstep-object-files-`);
after(() => rmSync(folder, { recursive: true, force: true }));
let count = 0;
const fresh = (): Objects => folderObjects(`${folder}/${++count}`);
const bytes = (text: string): Uint8Array => Buffer.from(text);
const late = new LockstepError('STORE_UNUSABLE', 'no answer within the time', 'Try again.');

test('objectFiles.replaceIf asks again about what another replica has put there meanwhile', async () => {
  const inner = fresh();
  const files = objectFiles(
    {
      ...inner,
      async swapIf(key, expected, next) {
        if (expected === null) await inner.put(key, bytes('2'));
        return inner.swapIf(key, expected, next);
      },
    },
    'log/public',
  );
  const seen: string[] = [];
  const olderThan =
    (size: number) =>
    (present: Uint8Array | null): boolean => {
      seen.push(present === null ? 'none' : Buffer.from(present).toString());
      return present === null || Number(Buffer.from(present)) < size;
    };
  assert.equal(await files.replaceIf('checkpoint', bytes('1'), olderThan(1)), false);
  assert.equal(await files.replaceIf('checkpoint', bytes('3'), olderThan(3)), true);
  assert.deepEqual(seen, ['none', '2', '2']);
  assert.deepEqual(Buffer.from((await files.read('checkpoint')) ?? []).toString(), '3');
});

test('objectFiles.replaceIf that was answered too late has replaced the file, or says that it has not', async () => {
  for (const effect of [true, false]) {
    const inner = fresh();
    const swapIf: Objects['swapIf'] = async (...args) => {
      if (effect) await inner.swapIf(...args);
      throw late;
    };
    const files = objectFiles({ ...inner, swapIf }, 'log/public');
    const replaced = files.replaceIf('checkpoint', bytes('1'), () => true);
    if (effect) assert.equal(await replaced, true);
    else await assert.rejects(replaced, late);
  }
});

test('objectFiles.replaceIf that never wins is LOG_BUSY, not a loop without an end', async () => {
  const files = objectFiles({ ...fresh(), swapIf: () => Promise.resolve(false) }, 'log/public');
  await assert.rejects(
    files.replaceIf('checkpoint', bytes('1'), () => true),
    { code: 'LOG_BUSY' },
  );
});

test('objectStaging keeps a group under its digest, and says when it holds other bytes', async () => {
  const objects = fresh();
  const staging = objectStaging(objects, 'log/staging');
  const files = new Map([['tile/0/000', bytes('hashes')]]);
  const digest = await staging.put(files);
  assert.equal(await staging.put(files), digest, 'again is the same');
  assert.deepEqual(await staging.get(digest), new Map([['tile/0/000', new Uint8Array(bytes('hashes'))]]));
  const key = `log/staging/${digest}`;
  const whole = (await objects.get(key, 1000)) ?? bytes('');
  for (const other of [whole.subarray(1), bytes(''), whole.with(3, 1)]) {
    await objects.put(key, other);
    await assert.rejects(staging.get(digest), TypeError);
  }
  await assert.rejects(objectStaging({ ...objects, put: () => Promise.resolve() }, 'log/staging').put(files), /other bytes/);
  await staging.put(files);
  assert.notEqual(await staging.get(digest), null, 'put again, it is mended');
  await staging.remove(digest);
  await staging.remove(digest);
  assert.equal(await staging.get(digest), null);
  await assert.rejects(objectStaging({ ...objects, put: () => Promise.resolve() }, 'log/staging').put(files), /not there/);
});

test('objectSource reads what lies there, within the bound', async () => {
  const objects = fresh();
  await objects.put('log/public/tile/0/x001/000.p/3', bytes('12345'));
  const source = objectSource(objects, 'log/public');
  assert.deepEqual(Buffer.from((await source.read('tile/0/x001/000.p/3', 5)) ?? []), bytes('12345'));
  await assert.rejects(source.read('tile/0/x001/000.p/3', 4), { code: 'FETCH_TOO_LARGE' });
  assert.equal(await source.read('tile/0/x001/000', 5), null);
});

test('state cells are swapped only against what was read, on objects as in a folder', async () => {
  for (const cells of [folderStateCells(`${folder}/cells`), objectStateCells(fresh(), 'log/state')]) {
    assert.equal(await cells.get('checkpoint'), null);
    assert.equal(await cells.swap('checkpoint', 'one', 'two'), false);
    assert.equal(await cells.swap('checkpoint', null, 'one — ü'), true);
    assert.equal(await cells.swap('checkpoint', null, 'two'), false);
    assert.equal(await cells.swap('checkpoint', 'one', 'two'), false);
    assert.equal(await cells.get('checkpoint'), 'one — ü');
    assert.equal(await cells.swap('checkpoint', 'one — ü', 'two'), true);
    assert.equal(await cells.get('checkpoint'), 'two');
  }
});

test('eachAtMost has no more under way than it may, begins nothing after a failure, and waits for what it began', async () => {
  let underWay = 0;
  let most = 0;
  const done: number[] = [];
  const act = async (item: number): Promise<void> => {
    most = Math.max(most, ++underWay);
    await new Promise((resolve) => setTimeout(resolve, item % 3));
    underWay--;
    if (item === 20) throw new Error('twenty');
    done.push(item);
  };
  await eachAtMost(4, [1, 2, 3], act);
  assert.deepEqual(done.sort(), [1, 2, 3]);
  await assert.rejects(
    eachAtMost(
      4,
      Array.from({ length: 100 }, (_, at) => at),
      act,
    ),
    /twenty/,
  );
  assert.equal(most, 4);
  assert.equal(underWay, 0);
  assert.ok(done.length < 30);
});
