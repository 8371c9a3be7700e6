import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { folderObjects } from './folder-objects.ts';
import type { Objects } from './objects.ts';
import { patientObjects } from './patient-objects.ts';

/** Fails one call in four, as often before as after doing what it was asked; always the same ones. */
function failing(real: Objects): Objects {
  let state = 7;
  const sometimes = async <T>(work: () => Promise<T>): Promise<T> => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    const turn = Math.floor(state / 65_536) % 8;
    const fault = new LockstepError('STORE_UNUSABLE', 'a moment', '');
    if (turn === 0) throw fault;
    const done = await work();
    if (turn === 2) throw fault;
    return done;
  };
  return {
    ...real,
    get: (key, max) => sometimes(() => real.get(key, max)),
    size: (key) => sometimes(() => real.size(key)),
    put: (key, content) => sometimes(() => real.put(key, content)),
    create: (key, bytes) => sometimes(() => real.create(key, bytes)),
    swapIf: (key, expected, next) => sometimes(() => real.swapIf(key, expected, next)),
    remove: (key) => sometimes(() => real.remove(key)),
  };
}

test('patientObjects answers rightly over a storage that fails before and after it has done what it was asked', async () => {
  const root = mkdtempSync(`${tmpdir()}/lockstep-patient-`);
  const objects = patientObjects(failing(folderObjects(root)));
  const bytes = (text: string): Uint8Array => Buffer.from(text);
  for (let at = 0; at < 4; at++) {
    const key = `cells/${at}`;
    assert.equal(await objects.create(key, bytes(`mine ${at}`)), true);
    assert.equal(await objects.create(key, bytes('another')), false);
    assert.equal(await objects.swapIf(key, bytes(`mine ${at}`), bytes(`next ${at}`)), true);
    assert.equal(await objects.swapIf(key, bytes(`mine ${at}`), bytes(`late ${at}`)), false);
    assert.equal(Buffer.from((await objects.get(key, 100)) ?? []).toString(), `next ${at}`);
    await objects.put(key, bytes('put'));
    assert.equal(await objects.size(key), 3);
    await objects.remove(key);
    assert.equal(await objects.size(key), null);
  }
  rmSync(root, { recursive: true });
});

test('patientObjects gives up on what stays broken, and never asks again what was asked wrongly', async () => {
  let calls = 0;
  const broken = (error: Error): Objects => {
    // oxlint-disable-next-line require-await -- it fails as a storage does, by what it promises
    const size = async (): Promise<number | null> => {
      calls++;
      throw error;
    };
    return { name: 'broken', size } as unknown as Objects;
  };
  await assert.rejects(patientObjects(broken(new LockstepError('STORE_UNUSABLE', 'away', ''))).size('a'), { code: 'STORE_UNUSABLE' });
  assert.equal(calls, 5);
  calls = 0;
  await assert.rejects(patientObjects(broken(new TypeError('no key'))).size('a'), TypeError);
  assert.equal(calls, 1);
});
