/** Random samples of what callers do to objects, for the contract: the storage and a Map have to give the same answers. */
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import type { Objects } from './objects.ts';

/** Few names, so that they meet: a name beside a folder of that name, and all that sorts around a slash. */
const KEY = fc.constantFrom(
  'a',
  'a/b',
  'a/b/c',
  'a-b',
  'a.b',
  'a+b',
  'a0',
  'A',
  'b',
  `${'a'.repeat(200)}/x`,
  'a'.repeat(200),
  'a'.repeat(450),
);
const BYTES = fc.oneof(fc.constantFrom(Buffer.from('x'), Buffer.from('')), fc.uint8Array({ maxLength: 64 }));
const PREFIX = fc.constantFrom('', 'a', 'a/', 'a/b', 'a/b/', 'b', 'c', 'a'.repeat(200), 'a'.repeat(201));

const COMMAND = fc.oneof(
  fc.record({ do: fc.constant('put' as const), key: KEY, bytes: BYTES, streamed: fc.boolean() }),
  fc.record({ do: fc.constant('create' as const), key: KEY, bytes: BYTES }),
  fc.record({ do: fc.constant('swapIf' as const), key: KEY, expected: fc.option(BYTES), asItIs: fc.boolean(), bytes: BYTES }),
  fc.record({ do: fc.constant('compose' as const), key: KEY, parts: fc.array(KEY, { maxLength: 4 }) }),
  fc.record({ do: fc.constant('remove' as const), key: KEY }),
  fc.record({ do: fc.constant('get' as const), key: KEY }),
  fc.record({ do: fc.constant('range' as const), key: KEY, start: fc.nat(70), length: fc.nat(70) }),
  fc.record({ do: fc.constant('list' as const), prefix: PREFIX }),
);
type Command = typeof COMMAND extends fc.Arbitrary<infer T> ? T : never;

/** @param fresh storage with nothing in it, for one run */
export async function agreesWithMap(fresh: () => Promise<Objects>, runs: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.array(COMMAND, { minLength: 5, maxLength: 30 }), async (commands) => {
      const objects = await fresh();
      const model = new Map<string, Uint8Array>();
      try {
        for (const command of commands)
          assert.deepEqual(await really(objects, command, model), expected(model, command), JSON.stringify(command).slice(0, 300));
      } finally {
        await objects.close();
      }
    }),
    { numRuns: runs, endOnFailure: true },
  );
}

/** Before `expected` changes the model. */
async function really(objects: Objects, command: Command, model: ReadonlyMap<string, Uint8Array>): Promise<unknown> {
  switch (command.do) {
    case 'put':
      await objects.put(
        command.key,
        command.streamed ? { stream: Readable.from([command.bytes]), size: command.bytes.length } : command.bytes,
      );
      return null;
    case 'create':
      return await objects.create(command.key, command.bytes);
    case 'swapIf':
      return await objects.swapIf(command.key, seen(command, model), command.bytes);
    case 'compose':
      return await objects.compose(command.key, command.parts).then(
        () => null,
        (error: { code: string }) => error.code,
      );
    case 'remove':
      await objects.remove(command.key);
      return null;
    case 'get':
      return [hex(await objects.get(command.key, 10_000)), await objects.size(command.key)];
    case 'range': {
      const stream = await objects.stream(command.key, command);
      return hex(stream === null ? null : Buffer.concat(await stream.toArray()));
    }
    case 'list':
      break;
  }
  const found: [string, number][] = [];
  for await (const { key, size } of objects.list(command.prefix)) found.push([key, size]);
  return found;
}

function expected(model: Map<string, Uint8Array>, command: Command): unknown {
  switch (command.do) {
    case 'put':
      model.set(command.key, command.bytes);
      return null;
    case 'create':
      if (model.has(command.key)) return false;
      model.set(command.key, command.bytes);
      return true;
    case 'swapIf': {
      if (hex(seen(command, model)) !== hex(model.get(command.key) ?? null)) return false;
      model.set(command.key, command.bytes);
      return true;
    }
    case 'compose': {
      const parts = command.parts.map((part) => model.get(part));
      if (parts.includes(undefined)) return 'INPUT_GONE';
      model.set(command.key, Buffer.concat(parts.filter((part) => part !== undefined)));
      return null;
    }
    case 'remove':
      model.delete(command.key);
      return null;
    case 'get':
      return [hex(model.get(command.key) ?? null), model.get(command.key)?.length ?? null];
    case 'range':
      return hex(model.get(command.key)?.subarray(command.start, command.start + command.length) ?? null);
    case 'list':
      break;
  }
  return [...model]
    .filter(([key]) => key.startsWith(command.prefix))
    .map(([key, bytes]) => [key, bytes.length])
    .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
}

/** Half of the swaps expect what is there. */
function seen(command: Extract<Command, { do: 'swapIf' }>, model: ReadonlyMap<string, Uint8Array>): Uint8Array | null {
  return command.asItIs ? (model.get(command.key) ?? null) : command.expected;
}

function hex(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString('hex');
}
