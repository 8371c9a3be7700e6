import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { folderObjects } from './folder-objects.ts';
import type { Objects } from './objects.ts';
import { probeObjects } from './probe.ts';

const folder = mkdtempSync(`${tmpdir()}/lockstep-probe-`);
after(() => rmSync(folder, { recursive: true, force: true }));
const honest = folderObjects(folder);

/** Each takes one promise of the interface, and breaks it. */
const LIARS: readonly { readonly lie: string; readonly said: RegExp; readonly objects: Partial<Objects> }[] = [
  {
    lie: 'create replaces',
    said: /ignores conditional puts/,
    objects: {
      async create(key, bytes) {
        await honest.put(key, bytes);
        return true;
      },
    },
  },
  {
    lie: 'create says yes to everybody who comes at once',
    said: /16 of 16 created the same object/,
    objects: {
      async create(key, bytes) {
        const none = (await honest.size(key)) === null;
        await new Promise((resolve) => setTimeout(resolve, 20));
        if (none) await honest.put(key, bytes);
        return none;
      },
    },
  },
  { lie: 'create never succeeds', said: /refuses to create/, objects: { create: () => Promise.resolve(false) } },
  {
    lie: 'create says yes and keeps another',
    said: /another object is there/,
    objects: {
      async create(key, bytes) {
        const made = await honest.create(key, bytes);
        if (!made && key.endsWith('race')) await honest.put(key, Buffer.from([99]));
        return made;
      },
    },
  },
  {
    lie: 'swapIf does not look',
    said: /stale value/,
    objects: {
      async swapIf(key, _, next) {
        await honest.put(key, next);
        return true;
      },
    },
  },
  {
    lie: 'swapIf looks, and then writes',
    said: /ignores conditional puts: 16 of 16/,
    objects: {
      async swapIf(key, expected, next) {
        const holds = expected !== null && Buffer.from(expected).equals((await honest.get(key, 1000)) ?? Buffer.alloc(0));
        await new Promise((resolve) => setTimeout(resolve, 20));
        if (holds) await honest.put(key, next);
        return holds;
      },
    },
  },
  { lie: 'swapIf never succeeds', said: /refuses a compare-and-swap/, objects: { swapIf: () => Promise.resolve(false) } },
  { lie: 'stream ignores ranges', said: /ranges/, objects: { stream: (key) => honest.stream(key) } },
  { lie: 'get is behind', said: /does not give back/, objects: { get: () => Promise.resolve(null) } },
  { lie: 'list is behind', said: /does not list/, objects: { list: () => honest.list('nothing') } },
  { lie: 'compose forgets', said: /does not compose/, objects: { compose: (key, parts) => honest.compose(key, parts.slice(1)) } },
  { lie: 'remove does nothing', said: /still has/, objects: { remove: () => Promise.resolve() } },
];

test('probeObjects accepts a storage that keeps its promises, and leaves nothing', async () => {
  await probeObjects(honest);
  for await (const { key } of honest.list('')) assert.fail(key);
});

for (const { lie, said, objects } of LIARS)
  test(`probeObjects finds out when ${lie}`, async () => {
    await assert.rejects(probeObjects({ ...honest, ...objects }), { code: 'HOST_CANNOT', message: said, hint: /folder:/ });
    const left: string[] = [];
    for await (const { key } of honest.list('')) left.push(key);
    if (objects.remove === undefined) assert.deepEqual(left, []);
    for (const key of left) await honest.remove(key);
  });
