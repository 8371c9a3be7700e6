/** The disk of samples.ts reached as objects, so that what is tested on a folder is tested on a bucket too: every call is a step. */
import { Readable } from 'node:stream';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import type { Objects } from '@lockstep/store/objects/objects';
import { objectFiles } from '../files/object-files.ts';
import { objectStaging } from '../files/object-staging.ts';
import { objectStateCells } from '../files/state-cells.ts';
import { objectSource } from '../source/object-source.ts';
import type { LogHome } from './log-home.ts';
import { type Conduct, type Disk, emptyDisk, memoryHome } from './samples.ts';

/** What a test of the sequencer has to know of where its log lies: how to open it, and what the steps are called. */
export interface Place {
  readonly where: string;
  readonly home: (disk: Disk, conduct?: Conduct) => LogHome;
  readonly swap: string;
  readonly write: string;
  readonly stage: string;
  /** Those at which a process must be able to die. */
  readonly steps: readonly string[];
  /** One of so many cases is tried where there are thousands: the sequencer is the same one, only its storage differs. */
  readonly sample: number;
}

export const PLACES: readonly Place[] = [
  {
    where: 'in a folder',
    home: memoryHome,
    swap: 'cells.swap',
    write: 'files.write',
    stage: 'staging.put',
    steps: ['staging.put', 'cells.swap', 'files.write', 'files.replaceIf', 'files.flush', 'staging.get', 'staging.remove'],
    sample: 1,
  },
  {
    where: 'on objects',
    home: objectsHome,
    swap: 'swapIf:state',
    write: 'put:public',
    stage: 'put:staging',
    steps: ['put:staging', 'get:staging', 'remove:staging', 'get:state', 'swapIf:state', 'put:public', 'get:public', 'swapIf:public'],
    sample: 5,
  },
];

export function objectsHome(disk: Disk, conduct: Conduct = {}): LogHome {
  const objects = diskObjects(disk, conduct);
  return {
    ...memoryHome(disk, conduct),
    files: objectFiles(objects, 'log/public'),
    staging: objectStaging(objects, 'log/staging'),
    cells: objectStateCells(objects, 'log/state'),
    source: objectSource(objects, 'log/public'),
  };
}

/** `log/public/PATH`, `log/staging/DIGEST` and `log/state/NAME` of a disk. What was put is durable at once. */
export function diskObjects(disk: Disk, { around = (_, effect) => effect(), pause, delay }: Conduct = {}): Objects {
  const step = async <T>(operation: string, key: string, effect: () => T): Promise<T> => {
    const name = `${operation}:${key.split('/')[1]} ${key}`;
    await pause?.(name);
    const result = around(name, effect);
    await delay?.(name);
    return result;
  };
  const read = (key: string): Uint8Array | null => {
    const [area, rest] = areaOf(key);
    if (area === 'public') return disk.files.get(rest) ?? null;
    if (area === 'staging') return disk.staged.get(rest as Sha256) ?? null;
    const cell = disk.cells.get(rest);
    return cell === undefined ? null : Buffer.from(cell);
  };
  const write = (key: string, bytes: Uint8Array): void => {
    const [area, rest] = areaOf(key);
    const copy = Uint8Array.from(bytes);
    if (area === 'staging') disk.staged.set(rest as Sha256, copy);
    if (area === 'public') for (const files of [disk.files, disk.flushed]) files.set(rest, copy);
    if (area === 'state') disk.cells.set(rest, Buffer.from(bytes).toString());
  };
  const swap = (key: string, expected: Uint8Array | null, next: Uint8Array): boolean => {
    const present = read(key);
    if (present === null || expected === null ? present !== expected : !Buffer.from(present).equals(expected)) return false;
    write(key, next);
    const text = Buffer.from(next).toString();
    if (key === 'log/state/checkpoint') disk.swapped.push((JSON.parse(text) as { note: string }).note);
    if (key === 'log/public/checkpoint') disk.published.push(text);
    return true;
  };
  return {
    name: 'memory',
    get: (key, maxBytes) =>
      step('get', key, () => {
        const bytes = read(key);
        if (bytes !== null && bytes.length > maxBytes) throw new Error(`${key} has ${bytes.length} bytes, more than ${maxBytes}`);
        return bytes;
      }),
    put: (key, content) =>
      step('put', key, () => {
        if (!(content instanceof Uint8Array)) throw new TypeError('a log puts bytes');
        write(key, content);
      }),
    create: (key, bytes) => step('create', key, () => swap(key, null, bytes)),
    swapIf: (key, expected, next) => step('swapIf', key, () => swap(key, expected, next)),
    remove: (key) => step('remove', key, () => void disk.staged.delete(areaOf(key)[1] as Sha256)),
    stream: async (key) => {
      const bytes = await step('stream', key, () => read(key));
      return bytes === null ? null : Readable.from([bytes]);
    },
    size: (key) => step('size', key, () => read(key)?.length ?? null),
    compose: () => Promise.reject(new TypeError('a log composes nothing')),
    list: () => {
      throw new TypeError('a log lists nothing');
    },
    close: () => Promise.resolve(),
  };
}

function areaOf(key: string): [area: string, rest: string] {
  const [prefix, area = '', ...rest] = key.split('/');
  if (prefix !== 'log' || !['public', 'staging', 'state'].includes(area)) throw new TypeError(`not a key of the log: ${key}`);
  return [area, rest.join('/')];
}

/** What lies on objects under `log/`, as a disk that can be read without waiting. */
export async function diskOf(objects: Objects, watched: Pick<Disk, 'swapped' | 'published'>): Promise<Disk> {
  const disk = { ...emptyDisk(), ...watched };
  for await (const { key, size } of objects.list('log/public/'))
    disk.files.set(key.slice('log/public/'.length), (await objects.get(key, size)) ?? new Uint8Array(0));
  return disk;
}
