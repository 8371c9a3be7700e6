/**
 * Asks a storage at start-up to do what the farm relies on. Storages that speak S3 differ in what they leave out, and the
 * worst take a conditional put and ignore the condition: two sequencers would both believe that they own the log.
 *
 * What is tried is tried once, in a race of its own making: a storage that is wrong only now and then is not found out.
 */
import { randomBytes } from 'node:crypto';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Objects } from './objects.ts';

const RACERS = 16;
const INSTEAD =
  'Use a storage that decides conditional writes: AWS S3, Google Cloud Storage, Ceph radosgw (16 or later), MinIO, or folder:/path on one machine.';

/** Leaves nothing behind. @throws LockstepError HOST_CANNOT for what the storage cannot do; STORE_UNUSABLE */
export async function probeObjects(objects: Objects): Promise<void> {
  const folder = `probe/${randomBytes(12).toString('hex')}`;
  const made = ['content', 'race', 'first', 'cell', 'whole'].map((name) => `${folder}-${name}`) as [string, string, string, string, string];
  try {
    const [content, race, first, cell, whole] = made;
    await readsBack(objects, content);
    await lists(objects, folder, content);
    await createsOnce(objects, race, first);
    await swapsOnce(objects, cell);
    await composes(objects, whole, content);
  } finally {
    // What went wrong first is what is told.
    await Promise.all(made.map((key) => objects.remove(key).catch(() => undefined)));
  }
  for (const key of made) if ((await objects.size(key)) !== null) throw cannot(objects, 'still has what was removed');
}

async function readsBack(objects: Objects, key: string): Promise<void> {
  const bytes = randomBytes(1000);
  await objects.put(key, randomBytes(10));
  await objects.put(key, bytes);
  if (!same(await objects.get(key, bytes.length), bytes)) throw cannot(objects, 'does not give back what was just put');
  if ((await objects.size(key)) !== bytes.length) throw cannot(objects, 'tells a wrong size');
  const stream = await objects.stream(key, { start: 100, length: 50 });
  if (stream === null || !same(Buffer.concat(await stream.toArray()), bytes.subarray(100, 150)))
    throw cannot(objects, 'does not give ranges of an object');
}

async function lists(objects: Objects, folder: string, key: string): Promise<void> {
  for await (const listed of objects.list(folder)) if (listed.key === key && listed.size === 1000) return;
  throw cannot(objects, 'does not list what was just put');
}

async function createsOnce(objects: Objects, race: string, first: string): Promise<void> {
  if (!(await objects.create(first, Buffer.from('1')))) throw cannot(objects, 'refuses to create an object that does not exist');
  if (await objects.create(first, Buffer.from('2')))
    throw cannot(objects, 'ignores conditional puts: it replaced an object that was to be created');
  const answers = await Promise.all(Array.from({ length: RACERS }, (_, racer) => objects.create(race, Buffer.from([racer]))));
  const makers = answers.filter(Boolean).length;
  if (makers !== 1)
    throw cannot(objects, `does not decide conditional puts that come at once: ${makers} of ${RACERS} created the same object`);
  if (!same(await objects.get(race, 1), Buffer.from([answers.indexOf(true)])))
    throw cannot(objects, 'ignores conditional puts: another object is there than the one that it accepted');
}

async function swapsOnce(objects: Objects, cell: string): Promise<void> {
  await objects.put(cell, Buffer.from('old'));
  if (!(await objects.swapIf(cell, Buffer.from('old'), Buffer.from('new'))))
    throw cannot(objects, 'refuses a compare-and-swap of what it holds');
  if (await objects.swapIf(cell, Buffer.from('old'), Buffer.from('stale')))
    throw cannot(objects, 'accepts a compare-and-swap of a stale value');
  const answers = await Promise.all(
    Array.from({ length: RACERS }, (_, racer) => objects.swapIf(cell, Buffer.from('new'), Buffer.from(`${racer}`))),
  );
  const swappers = answers.filter(Boolean).length;
  if (swappers !== 1)
    throw cannot(objects, `ignores conditional puts: ${swappers} of ${RACERS} compare-and-swaps of one value were accepted`);
  if (!same(await objects.get(cell, 10), Buffer.from(`${answers.indexOf(true)}`)))
    throw cannot(objects, 'loses a compare-and-swap that it accepted');
}

async function composes(objects: Objects, whole: string, content: string): Promise<void> {
  await objects.compose(whole, [content, content]);
  const part = await objects.get(content, 1000);
  if (part === null || !same(await objects.get(whole, 2000), Buffer.concat([part, part])))
    throw cannot(objects, 'does not compose objects');
}

function same(a: Uint8Array | null, b: Uint8Array): boolean {
  return a !== null && Buffer.from(a).equals(b);
}

function cannot(objects: Objects, what: string): LockstepError {
  return new LockstepError('HOST_CANNOT', `The ${objects.name} ${what}`, INSTEAD);
}
