/** What every kind of storage has to keep: one suite, run by the tests of each kind (objects.ts has the words). */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';
import { agreesWithMap } from './model-samples.ts';
import { chunksOfPattern, createAndCount, killedWriter, MEBI, pattern } from './writer-samples.ts';
import type { Objects } from './objects.ts';

export interface ContractSetup {
  /** An address for openObjects (another process opens it too), with nothing in it. A new one for each call. */
  readonly address: () => Promise<string>;
  readonly open: (address: string) => Promise<Objects>;
  /** Runs of the property; lists of so many. Less where each request takes its time. */
  readonly runs: number;
  readonly listed: number;
  /** How often each of four processes swaps the same object. */
  readonly swaps: number;
  /** Looks for what a dead writer left that readers do not see, after the storage was opened again. */
  readonly leftovers?: (address: string) => Promise<readonly string[]>;
}

const LARGE = 40 * MEBI;
const RACERS = 16;
/** Everything at once would be LARGE; parts under way, chunks of streams and the heap's own slack are allowed. */
const FLAT = 250 * MEBI;

export function objectsContract(name: string, setup: ContractSetup): void {
  const fresh = async (): Promise<Objects> => await setup.open(await setup.address());
  /** Storage of its own for each test. */
  const check = (what: string, act: (objects: Objects) => Promise<void>): void => {
    test(what, async () => {
      const objects = await fresh();
      try {
        await act(objects);
      } finally {
        await objects.close();
      }
    });
  };

  describe(`objects: ${name}`, () => {
    check('what was put is read back, replaced and removed', async (objects) => {
      assert.equal(await objects.get('a/b', 10), null);
      assert.equal(await objects.size('a/b'), null);
      assert.equal(await objects.stream('a/b'), null);
      await objects.put('a/b', Buffer.from('first'));
      assert.equal(text(await objects.get('a/b', 5)), 'first');
      await objects.put('a/b', Buffer.from(''));
      assert.equal(text(await objects.get('a/b', 0)), '');
      assert.equal(await objects.size('a/b'), 0);
      await objects.put('a/b', { stream: Readable.from([Buffer.from('se'), Buffer.from('cond')]), size: 6 });
      assert.equal(text(await drained(objects, 'a/b')), 'second');
      await objects.remove('a/b');
      assert.equal(await objects.get('a/b', 10), null);
      await objects.remove('a/b');
      assert.doesNotMatch(objects.name, /\n/);
    });

    check('get refuses more than was asked for', async (objects) => {
      await objects.put('a', Buffer.alloc(11));
      await assert.rejects(objects.get('a', 10), { code: 'FETCH_TOO_LARGE' });
      assert.equal((await objects.get('a', 11))?.length, 11);
    });

    check('a range is what lies within the object', async (objects) => {
      await objects.put('a', Buffer.from('0123456789'));
      await objects.put('empty', Buffer.alloc(0));
      const at = async (start: number, length: number, key = 'a') => text(await drained(objects, key, { start, length }));
      assert.equal(await at(0, 10), '0123456789');
      assert.equal(await at(3, 4), '3456');
      assert.equal(await at(8, 100), '89');
      assert.equal(await at(9, Number.MAX_SAFE_INTEGER), '9');
      assert.equal(await at(10, 1), '');
      assert.equal(await at(1000, 1), '');
      assert.equal(await at(4, 0), '');
      assert.equal(await at(0, 5, 'empty'), '');
      assert.equal(await objects.stream('none', { start: 0, length: 0 }), null);
      assert.equal(await objects.stream('none', { start: 5, length: 1 }), null);
      for (const range of [
        { start: -1, length: 1 },
        { start: 0, length: -1 },
        { start: 0.5, length: 1 },
        { start: 0, length: Number.NaN },
      ])
        await assert.rejects(objects.stream('a', range), TypeError);
    });

    check('names that are no keys are refused everywhere', async (objects) => {
      const none = [
        '',
        '/',
        '/a',
        'a/',
        'a//b',
        '.',
        '..',
        'a/../b',
        'a/./b',
        '.a',
        '-a',
        'a b',
        'a\n',
        'a%2fb',
        'a?b',
        'ä',
        'a\0',
        'a\\b',
        'a=',
        'a~',
        'a'.repeat(513),
      ];
      for (const key of none) {
        const calls = [
          () => objects.get(key, 1),
          () => objects.stream(key),
          () => objects.size(key),
          () => objects.put(key, Buffer.from('x')),
          () => objects.create(key, Buffer.from('x')),
          () => objects.swapIf(key, null, Buffer.from('x')),
          () => objects.swapIf(key, Buffer.from('x'), Buffer.from('x')),
          () => objects.compose(key, []),
          () => objects.compose('a', [key]),
          () => objects.remove(key),
        ];
        for (const [at, call] of calls.entries())
          await assert.rejects(async () => await call(), TypeError, `${JSON.stringify(key)} by call ${at}`);
      }
      assert.deepEqual(await keys(objects, ''), []);
    });

    check('every key that is one can be used, the longest too', async (objects) => {
      const all = [
        'a',
        'a/b',
        'a/b/c',
        'a.b',
        'a+b',
        'a_b',
        '0',
        'Z',
        'z',
        'x'.repeat(512),
        'x'.repeat(200),
        'x'.repeat(400),
        `${'y'.repeat(255)}/${'z'.repeat(256)}`,
      ];
      for (const key of all) assert.ok(await objects.create(key, Buffer.from(key)), key);
      for (const key of all) assert.equal(text(await objects.get(key, 512)), key);
      assert.deepEqual(await keys(objects, ''), all.toSorted());
    });

    check('create is exclusive', async (objects) => {
      assert.equal(await objects.create('a', Buffer.from('1')), true);
      assert.equal(await objects.create('a', Buffer.from('2')), false);
      assert.equal(await objects.create('a', Buffer.from('1')), false, 'also for the same bytes');
      assert.equal(text(await objects.get('a', 1)), '1');
      await objects.remove('a');
      assert.equal(await objects.create('a', Buffer.from('')), true);
    });

    check('of many that create one name at once exactly one has made it', async (objects) => {
      for (let round = 0; round < 10; round++) {
        const made = await Promise.all(range(RACERS).map((racer) => objects.create(`race/${round}`, Buffer.from(`racer ${racer}`))));
        assert.equal(made.filter(Boolean).length, 1);
        assert.equal(text(await objects.get(`race/${round}`, 20)), `racer ${made.indexOf(true)}`);
      }
    });

    check('swapIf replaces only what was expected', async (objects) => {
      assert.equal(await objects.swapIf('a', Buffer.from('x'), Buffer.from('y')), false, 'there is none');
      assert.equal(await objects.swapIf('a', null, Buffer.from('')), true);
      assert.equal(await objects.swapIf('a', null, Buffer.from('z')), false, 'an empty object is one');
      assert.equal(await objects.swapIf('a', Buffer.from(''), Buffer.from('one')), true);
      assert.equal(await objects.swapIf('a', Buffer.from('on'), Buffer.from('two')), false);
      assert.equal(await objects.swapIf('a', Buffer.from('onE'), Buffer.from('two')), false);
      assert.equal(await objects.swapIf('a', Buffer.from('one'), Buffer.from('one')), true, 'by itself');
      assert.equal(await objects.swapIf('a', Buffer.from('one'), Buffer.from('two')), true);
      assert.equal(text(await objects.get('a', 10)), 'two');
      await objects.remove('a');
      assert.equal(await objects.swapIf('a', Buffer.from('two'), Buffer.from('three')), false);
      assert.equal(await objects.get('a', 10), null);
    });

    check('of many that swap the same value exactly one has done it', async (objects) => {
      for (let round = 0; round < 5; round++) {
        const key = `swap/${round}`;
        await objects.put(key, Buffer.from('old'));
        const done = await Promise.all(range(RACERS).map((racer) => objects.swapIf(key, Buffer.from('old'), Buffer.from(`${racer}`))));
        assert.equal(done.filter(Boolean).length, 1);
        assert.equal(text(await objects.get(key, 20)), `${done.indexOf(true)}`);
      }
    });

    check('counting by swapIf loses nothing', async (objects) => {
      const [counters, times] = [4, 5];
      await Promise.all(
        range(counters).map(async () => {
          for (let done = 0, tries = 0; done < times; tries++) {
            assert.ok(tries < 1000, 'it never succeeds');
            const old = await objects.get('counter', 100);
            if (await objects.swapIf('counter', old, Buffer.from(String(Number(old === null ? '0' : text(old)) + 1)))) done++;
          }
        }),
      );
      assert.equal(text(await objects.get('counter', 100)), String(counters * times));
    });

    test('processes that create and swap at once are told who it was', async () => {
      const address = await setup.address();
      const created = (await createAndCount(address, 4, setup.swaps)).flat();
      const objects = await setup.open(address);
      assert.deepEqual(
        created.toSorted((a, b) => a - b),
        range(20),
        'each name was created by exactly one',
      );
      assert.equal(text(await objects.get('counter', 100)), String(4 * setup.swaps));
      await objects.close();
    });

    check('compose puts objects one behind the other, and leaves them', async (objects) => {
      const big = pattern(6 * MEBI, 1);
      await objects.put('big', big);
      await objects.put('big+', big);
      await objects.put('small', Buffer.from('small'));
      await objects.put('empty', Buffer.alloc(0));
      const cases: [string[], Uint8Array][] = [
        [[], Buffer.alloc(0)],
        [['empty'], Buffer.alloc(0)],
        [['small'], Buffer.from('small')],
        [['big', 'big+', 'small'], Buffer.concat([big, big, Buffer.from('small')])],
        [['small', 'big', 'empty', 'small'], Buffer.concat([Buffer.from('small'), big, Buffer.from('small')])],
        [['big', 'empty'], big],
        [range(40).map(() => 'small'), Buffer.from('small'.repeat(40))],
      ];
      for (const [parts, whole] of cases) {
        await objects.compose('whole', parts);
        assert.ok(Buffer.from(await drained(objects, 'whole')).equals(whole), parts.join(' ').slice(0, 80));
      }
      await objects.compose('big', ['big', 'small']);
      assert.equal(await objects.size('big'), big.length + 5, 'into one of its own parts');
      assert.equal(text(await objects.get('small', 5)), 'small');
      await assert.rejects(objects.compose('never', ['small', 'none']), { code: 'INPUT_GONE' });
      assert.equal(await objects.size('never'), null);
    });

    check('list has every object under a prefix, in the order of keys, with sizes and times', async (objects) => {
      const names = ['a', 'a/b', 'a-b', 'a.b', 'a0', 'a/b/c', 'ab/c', 'B', 'a/ba'];
      for (const [at, key] of names.entries()) await objects.put(key, Buffer.alloc(at));
      assert.deepEqual(await keys(objects, ''), names.toSorted());
      assert.deepEqual(await keys(objects, 'a/'), ['a/b', 'a/b/c', 'a/ba']);
      assert.deepEqual(await keys(objects, 'a/b'), ['a/b', 'a/b/c', 'a/ba']);
      assert.deepEqual(await keys(objects, 'a/b/'), ['a/b/c']);
      assert.deepEqual(await keys(objects, 'c'), []);
      for await (const { key, size, modified } of objects.list('')) {
        assert.equal(size, names.indexOf(key));
        assert.ok(Number.isInteger(modified) && Math.abs(modified - Date.now() / 1000) < 300, `${key} is from ${modified}`);
      }
      await assert.rejects(async () => await keys(objects, '../'), TypeError);
    });

    check('list goes on beyond a page, and sees what was put before', async (objects) => {
      const names = range(setup.listed).map((at) => `page/${String(at % 7)}/${String(at).padStart(5, '0')}`);
      for (let at = 0; at < names.length; at += 50)
        await Promise.all(names.slice(at, at + 50).map((key) => objects.create(key, Buffer.alloc(0))));
      assert.deepEqual(await keys(objects, 'page/'), names.toSorted());
      let seen = 0;
      for await (const { key } of objects.list('page/')) {
        assert.ok(key.startsWith('page/0/'));
        if (++seen === 3) break;
      }
    });

    check('large content passes through in flat memory, and a range of it is quick', async (objects) => {
      const peak = watchMemory();
      await objects.put('large', { stream: Readable.from(chunksOfPattern(LARGE)), size: LARGE });
      assert.equal(await objects.size('large'), LARGE);
      const stream = await objects.stream('large');
      const hash = createHash('sha256');
      for await (const chunk of stream ?? []) hash.update(chunk as Uint8Array);
      const wanted = createHash('sha256');
      for (const chunk of chunksOfPattern(LARGE)) wanted.update(chunk);
      assert.equal(hash.digest('hex'), wanted.digest('hex'));
      assert.ok(peak() < FLAT, `memory grew by ${peak() / MEBI} MiB`);
      const middle = await drained(objects, 'large', { start: 17 * MEBI - 3, length: 6 });
      assert.deepEqual(Buffer.from(middle), Buffer.concat([pattern(MEBI, 16).subarray(-3), pattern(MEBI, 17).subarray(0, 3)]));
    });

    check('a stream of another size than was promised stores nothing, and is let go', async (objects) => {
      await objects.put('kept', Buffer.from('kept'));
      for (const [size, sent] of [
        [10, 9],
        [10, 11],
        [0, 1],
        [20 * MEBI, 17 * MEBI],
        [17 * MEBI, 20 * MEBI],
      ] as const)
        for (const key of ['never', 'kept']) {
          const stream = Readable.from(sent < 100 ? [Buffer.alloc(sent)] : chunksOfPattern(sent));
          await assert.rejects(objects.put(key, { stream, size }), { code: 'FETCH_FAILED' }, `${sent} for ${size}`);
          assert.ok(stream.destroyed || stream.readableEnded);
        }
      const broken = Readable.from(
        (function* () {
          yield Buffer.alloc(MEBI);
          throw new Error('the sender is gone');
        })(),
      );
      await assert.rejects(objects.put('kept', { stream: broken, size: 2 * MEBI }), /the sender is gone/);
      assert.equal(text(await objects.get('kept', 10)), 'kept');
      assert.deepEqual(await keys(objects, ''), ['kept']);
    });

    check('a reader that goes away ends nothing else', async (objects) => {
      await objects.put('large', pattern(8 * MEBI, 3));
      for (let at = 0; at < 40; at++) {
        const stream = await objects.stream('large');
        if (at % 2 === 0) for await (const _ of stream ?? []) break;
        stream?.destroy();
      }
      assert.equal((await drained(objects, 'large')).length, 8 * MEBI);
    });

    check('a reader sees one whole object while it is replaced', async (objects) => {
      const contents = [pattern(3 * MEBI, 1), pattern(2 * MEBI, 2)];
      await objects.put('a', contents[0] ?? Buffer.alloc(0));
      const writer = (async () => {
        for (let at = 1; at < 9; at++) await objects.put('a', contents[at % 2] ?? Buffer.alloc(0));
      })();
      for (let at = 0; at < 12; at++) {
        const bytes = Buffer.from(await drained(objects, 'a'));
        assert.ok(contents.some((content) => bytes.equals(content)));
      }
      await writer;
    });

    test('a writer that is killed leaves nothing that can be seen, and what it had replaced', async () => {
      const address = await setup.address();
      const objects = await setup.open(address);
      await objects.put('kept', Buffer.from('kept'));
      for (const key of ['kept', 'never']) await killedWriter(address, key);
      assert.deepEqual(await keys(objects, ''), ['kept']);
      assert.equal(text(await objects.get('kept', 10)), 'kept');
      await objects.close();
      const again = await setup.open(address);
      assert.deepEqual(await keys(again, ''), ['kept']);
      assert.equal(await again.create('never', Buffer.from('x')), true);
      await again.close();
      assert.deepEqual((await setup.leftovers?.(address)) ?? [], []);
    });

    test('whatever is done, it answers as a Map would', async () => await agreesWithMap(fresh, setup.runs));
  });
}

function text(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString();
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, at) => at);
}

async function drained(objects: Objects, key: string, part?: { start: number; length: number }): Promise<Uint8Array> {
  const stream = await objects.stream(key, part);
  assert.ok(stream !== null, `${key} is there`);
  return Buffer.concat(await stream.toArray());
}

async function keys(objects: Objects, prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of objects.list(prefix)) found.push(key);
  return found;
}

/** @returns by how much resident memory grew at most since */
function watchMemory(): () => number {
  const before = process.memoryUsage.rss();
  let most = before;
  const clock = setInterval(() => (most = Math.max(most, process.memoryUsage.rss())), 5);
  return () => {
    clearInterval(clock);
    return Math.max(most, process.memoryUsage.rss()) - before;
  };
}
