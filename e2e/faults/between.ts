/** What stands between a farm and its database, storage, log and callers: traps at every named step, and a storage that fails. */
import { Readable } from 'node:stream';
import type { Connection, FarmApp } from '@lockstep/control-plane/api/app';
import type { Database } from '@lockstep/control-plane/database/database';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { Objects } from '@lockstep/store/objects/objects';
import type { SequencedLog } from '../../packages/cli/src/farm/sequenced-log.ts';
import { routeOf } from './route-of.ts';
import { die, type Trap } from './trap.ts';

/** Steps are named after the function that writes: `write advance`. */
export function trappedDatabase(real: Database, trap: Trap): Database {
  return {
    ...real,
    write(work) {
      const step = `write ${callerOf(new Error('for its stack').stack ?? '')}`;
      return trap.around([step], (within) =>
        real.write(async (tx) => {
          const result = await work(tx);
          within();
          return result;
        }),
      );
    },
  };
}

/** The function of the control plane that is next on the stack. */
function callerOf(stack: string): string {
  const line = stack.split('\n').find((one) => /control-plane\/src\/(?!database\/)/.test(one)) ?? '';
  return /at (?:async )?(?:new )?(?:[\w.]*\.)?(\w+) \(/.exec(line)?.[1] ?? 'unknown';
}

/** `put definitions`, `compose results`, …; parts of submitters' and of builders' uploads are told apart. */
export function trappedObjects(real: Objects, trap: Trap): Objects {
  const at = (verb: string, key: string): string => `${verb} ${/^parts\/[as]|^[a-z]+/.exec(key)?.[0] ?? key}`;
  return {
    ...real,
    put: (key, content) => trap.around([at('put', key)], () => real.put(key, content)),
    create: (key, bytes) => trap.around([at('create', key)], () => real.create(key, bytes)),
    swapIf: (key, expected, next) => trap.around([at('swap', key)], () => real.swapIf(key, expected, next)),
    compose: (key, parts) => trap.around([at('compose', key)], () => real.compose(key, parts)),
    remove: (key) => trap.around([at('remove', key)], () => real.remove(key)),
  };
}

/** `append opening`, `append statement`, … */
export function trappedLog(real: SequencedLog, trap: Trap): SequencedLog {
  return {
    ...real,
    append(documents) {
      const nouns = new Set(documents.map((one) => /lockstep\.(\w+)\+json/.exec(one.payloadType)?.[1] ?? 'statement'));
      return trap.around(
        [...nouns].map((noun) => `append ${noun}`),
        () => real.append(documents),
      );
    },
  };
}

/** `api submit`, `api commit`, …; an answer to `lease` counts as `api lease` or `api duties` when there is something in it. */
export function trappedApp(real: FarmApp, trap: Trap): FarmApp {
  return {
    async fetch(request, connection: Connection) {
      const { pathname } = new URL(request.url);
      const route = routeOf(request.method, pathname);
      if (route === 'lease') {
        const response = await real.fetch(request, connection);
        const found = await stepsOfLease(response.clone());
        if (found.length > 0) await trap.around(found, () => Promise.resolve());
        return response;
      }
      const step = `api ${route ?? 'unknown'}`;
      const response = await trap.around([step], () => real.fetch(request, connection));
      return trap.isHalf(step) ? halfOf(response) : response;
    },
  };
}

async function stepsOfLease(response: Response): Promise<string[]> {
  if (!response.ok) return [];
  const { leases, duties } = (await response.json()) as { leases: unknown[]; duties: unknown[] };
  return [...(leases.length > 0 ? ['api lease'] : []), ...(duties.length > 0 ? ['api duties'] : [])];
}

async function halfOf(response: Response): Promise<Response> {
  const bytes = Buffer.from(await response.arrayBuffer());
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(bytes.subarray(0, Math.floor(bytes.length / 2)));
      setTimeout(die, 100);
    },
  });
  return new Response(body, {
    status: response.status,
    headers: { ...Object.fromEntries(response.headers), 'content-length': String(bytes.length) },
  });
}

export interface Unreliable {
  readonly objects: (real: Objects) => Objects;
  /** @param share from 0 to 1 of calls that fail */
  setShare(share: number): void;
}

/** Errors before anything happened, time-outs after it did, streams that end early: each as often as the others. */
export function unreliable(): Unreliable {
  let share = 0;
  const away = (what: string): LockstepError =>
    new LockstepError('STORE_UNUSABLE', `the storage of this test failed: ${what}`, 'It was told to.');
  const around = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    const dice = Math.random();
    if (dice < share / 2) throw away(what);
    const result = await work();
    if (dice < share) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      throw away(`${what}: it was done, and no answer came`);
    }
    return result;
  };
  return {
    setShare(next) {
      share = next;
    },
    objects: (real) => ({
      ...real,
      get: (key, most) => around(`get ${key}`, () => real.get(key, most)),
      size: (key) => around(`size ${key}`, () => real.size(key)),
      async stream(key, range) {
        const stream = await around(`stream ${key}`, () => real.stream(key, range));
        return stream === null || Math.random() >= share ? stream : cutShort(stream, away(`stream ${key} ended early`));
      },
      put: (key, content) => around(`put ${key}`, () => real.put(key, content)),
      create: (key, bytes) => around(`create ${key}`, () => real.create(key, bytes)),
      swapIf: (key, expected, next) => around(`swap ${key}`, () => real.swapIf(key, expected, next)),
      compose: (key, parts) => around(`compose ${key}`, () => real.compose(key, parts)),
      remove: (key) => around(`remove ${key}`, () => real.remove(key)),
      async *list(prefix) {
        if (Math.random() < share) throw away(`list ${prefix}`);
        yield* real.list(prefix);
      },
    }),
  };
}

/** Some of the first chunk, then an error, as the interface says that a stream which ends early does. */
function cutShort(stream: Readable, error: Error): Readable {
  async function* some(): AsyncGenerator<Uint8Array> {
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      yield chunk.subarray(0, Math.floor(chunk.length / 2));
      throw error;
    }
    throw error;
  }
  return Readable.from(some(), { objectMode: false });
}
