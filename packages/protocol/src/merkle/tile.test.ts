import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { toUtf8 } from '../bytes/utf8.ts';
import { formatEntryBundle, MAX_ENTRY_BYTES, parseEntryBundle } from './entry-bundle.ts';
import { EMPTY_TREE, growTree, rootOf } from './growing-tree.ts';
import { emptyRoot } from './hash.ts';
import { sampleLeaves, sampleTree } from './samples.ts';
import { completeSubtrees } from './range.ts';
import { hashesAtLevel, hashRange, newTiles, parseTilePath, type Tile, tileOfHash, tilePath, tilesForRanges } from './tile.ts';

const tile = (level: Tile['level'], index: number, width = 256): Tile => ({ level, index, width });
const paths = (tiles: Iterable<Tile>): string[] => [...tiles].map(tilePath);
const leaves = sampleLeaves(3000);

test('tilePath writes the paths of c2sp.org/tlog-tiles', () => {
  for (const [one, path] of [
    [tile(0, 0), 'tile/0/000'],
    [tile(0, 1_234_067), 'tile/0/x001/x234/067'],
    [tile(1, 999), 'tile/1/999'],
    [tile(1, 1000), 'tile/1/x001/000'],
    [tile(2, 0, 1), 'tile/2/000.p/1'],
    [tile(0, 273, 112), 'tile/0/273.p/112'],
    [tile(0, 1_234_067, 255), 'tile/0/x001/x234/067.p/255'],
    [tile('entries', 1_234_067), 'tile/entries/x001/x234/067'],
    [tile('entries', 5, 7), 'tile/entries/005.p/7'],
    [tile(6, 35_184_372_088_831), 'tile/6/x035/x184/x372/x088/831'],
  ] as const) {
    assert.equal(tilePath(one), path);
    assert.deepEqual(parseTilePath(path), one);
  }
});

test('tilePath and parseTilePath are inverse', () => {
  const level = fc.oneof(fc.integer({ min: 0, max: 6 }), fc.constant('entries' as const));
  fc.assert(
    fc.property(level, fc.oneof(fc.nat(2000), fc.nat({ max: 2 ** 45 })), fc.integer({ min: 1, max: 256 }), (l, n, w) => {
      assert.deepEqual(parseTilePath(tilePath(tile(l, n, w))), tile(l, n, w));
    }),
    { numRuns: 5000 },
  );
});

for (const path of [
  '',
  'tile/0',
  'tile/0/',
  '/tile/0/000',
  'tile/0/000/',
  'tile/0/0',
  'tile/0/00',
  'tile/0/0000',
  'tile/0/001/000',
  'tile/0/x001',
  'tile/0/x000/001',
  'tile/0/x001/x000',
  'tile/0/x1/000',
  'tile/0/X001/000',
  'tile/00/000',
  'tile/7/000',
  'tile/10/000',
  'tile/-1/000',
  'tile/data/000',
  'tile/entries',
  'tile/8/0/000',
  'tile/0/000.p',
  'tile/0/000.p/',
  'tile/0/000.p/0',
  'tile/0/000.p/01',
  'tile/0/000.p/256',
  'tile/0/000.p/257',
  'tile/0/000.p/-1',
  'tile/0/000.p/1/',
  'tile/0/000.p/1\n',
  'tile/0/000\n',
  'tile/0/000 ',
  'tile/0/٠٠٠',
  'tile/0/x999/x999/x999/x999/x999/999',
  'tile/0/../000',
  'checkpoint',
])
  test(`parseTilePath refuses ${JSON.stringify(path)}`, () => assert.equal(parseTilePath(path), null));

test('newTiles of a tree of 70,000 and of 256 are those of the specification', () => {
  const all = [...newTiles(0, 70_000)];
  const of = (level: Tile['level']): Tile[] => all.filter((one) => one.level === level);
  assert.equal(of(0).filter((one) => one.width === 256).length, 273);
  assert.deepEqual(of(0).at(-1), tile(0, 273, 112));
  assert.deepEqual(of(1), [tile(1, 0), tile(1, 1, 17)]);
  assert.deepEqual(of(2), [tile(2, 0, 1)]);
  assert.equal(of('entries').length, 274);
  assert.equal(all.length, 274 + 274 + 2 + 1);
  assert.deepEqual(paths(newTiles(0, 256)), ['tile/entries/000', 'tile/0/000', 'tile/1/000.p/1']);
  assert.deepEqual(paths(newTiles(0, 0)), []);
  assert.deepEqual(paths(newTiles(0, 1)), ['tile/entries/000.p/1', 'tile/0/000.p/1']);
  assert.deepEqual(paths(newTiles(256, 257)), ['tile/entries/001.p/1', 'tile/0/001.p/1']);
  assert.deepEqual(paths(newTiles(300, 300)), []);
});

test('newTiles from one size to another are those of the second that the first had not', () => {
  fc.assert(
    fc.property(fc.nat(200_000), fc.nat(2000), (from, more) => {
      const size = from + more;
      const before = new Set(paths(newTiles(0, from)));
      const expected = paths(newTiles(0, size)).filter((path) => !before.has(path));
      assert.deepEqual(paths(newTiles(from, size)), expected);
      // Partial tiles have the width of the formula in "Partial Tiles", and none is empty.
      for (const one of newTiles(from, size)) {
        const level = one.level === 'entries' ? 0 : one.level;
        const hashes = Math.floor(size / 256 ** level);
        assert.equal(one.width, one.index === Math.floor(hashes / 256) ? hashes % 256 : 256);
        assert.ok(one.width >= 1);
      }
    }),
    { numRuns: 100 },
  );
});

test('newTiles, hashesAtLevel and tileOfHash are exact up to 2^53 - 1 entries', () => {
  const size = 2 ** 53 - 1;
  assert.deepEqual(
    [0, 1, 2, 3, 4, 5, 6].map((level) => BigInt(hashesAtLevel(level, size))),
    [0n, 1n, 2n, 3n, 4n, 5n, 6n].map((level) => BigInt(size) >> (8n * level)),
  );
  assert.deepEqual([...newTiles(size - 1, size)], [tile('entries', 2 ** 45 - 1, 255), tile(0, 2 ** 45 - 1, 255)]);
  assert.deepEqual(tileOfHash(6, 31, size), tile(6, 0, 31), 'the 32nd hash of level 6 is not there yet');
  assert.deepEqual(tileOfHash(0, size - 1, size), tile(0, 2 ** 45 - 1, 255));
  for (const one of tilesForRanges([{ start: 0, end: size }], size)) {
    assert.ok(one.width >= 1 && one.width <= 256, tilePath(one));
    assert.deepEqual(parseTilePath(tilePath(one)), one);
  }
});

test('completeSubtrees cover a range, from left to right, each at a multiple of its width', () => {
  fc.assert(
    fc.property(fc.nat(2 ** 40), fc.nat(100_000), (start, length) => {
      let at = start;
      for (const { height, index } of completeSubtrees({ start, end: start + length })) {
        assert.equal(index * 2 ** height, at);
        at += 2 ** height;
      }
      assert.equal(at, start + length);
    }),
    { numRuns: 500 },
  );
});

test('growTree in groups of any size makes the tiles and the root that it makes at once', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.nat(3), fc.integer({ min: 250, max: 260 }), fc.nat(600)), { maxLength: 6 }), (groups) => {
      let edge = EMPTY_TREE;
      const grown = new Map<string, Uint8Array>();
      for (const group of groups) {
        const step = growTree(edge, leaves.slice(edge.size, edge.size + group));
        assert.deepEqual(
          [...step.tiles.keys()],
          paths(newTiles(edge.size, step.edge.size)).filter((path) => !path.includes('entries')),
        );
        edge = step.edge;
        for (const [path, bytes] of step.tiles) grown.set(path, bytes);
      }
      const whole = sampleTree(leaves.slice(0, edge.size));
      assert.deepEqual(rootOf(edge), whole.root);
      for (const [path, bytes] of whole.tiles) assert.deepEqual(grown.get(path), bytes, path);
    }),
    { numRuns: 40 },
  );
});

test('growTree leaves the edge that it was given as it was, and grows two trees from it', () => {
  const { edge } = growTree(EMPTY_TREE, leaves.slice(0, 356));
  const before = rootOf(edge);
  const copy = structuredClone(edge);
  const one = growTree(edge, leaves.slice(356, 400));
  const two = growTree(edge, leaves.slice(400, 444));
  assert.deepEqual(edge, copy);
  assert.notDeepEqual(rootOf(one.edge), rootOf(two.edge));
  assert.deepEqual(rootOf(one.edge), sampleTree(leaves.slice(0, 400)).root);
  assert.deepEqual(rootOf(two.edge), sampleTree([...leaves.slice(0, 356), ...leaves.slice(400, 444)]).root);
  assert.deepEqual(rootOf(growTree(edge, []).edge), before);
});

test('rootOf an empty tree is the hash of nothing', () => {
  assert.deepEqual(rootOf(EMPTY_TREE), emptyRoot());
  assert.equal(growTree(EMPTY_TREE, []).tiles.size, 0);
});

test('growTree grows past 65,536 leaves, where a third level begins', () => {
  const many = Array.from({ length: 65_537 }, (_, index) => leaves[index % 3000]!);
  const first = growTree(EMPTY_TREE, many.slice(0, 65_535));
  const then = growTree(first.edge, many.slice(65_535));
  assert.deepEqual([...then.tiles.keys()], ['tile/0/255', 'tile/0/256.p/1', 'tile/1/000', 'tile/2/000.p/1']);
  const whole = growTree(EMPTY_TREE, many);
  assert.deepEqual(rootOf(then.edge), rootOf(whole.edge));
  const root = hashRange({ start: 0, end: 65_537 }, 65_537, whole.tiles);
  assert.deepEqual(root, rootOf(whole.edge));
});

test('hashRange says which tile is missing, cut or too long', () => {
  const { tiles, size } = sampleTree(leaves.slice(0, 300));
  const range = { start: 0, end: 300 };
  for (const path of paths(tilesForRanges([range], size))) {
    const bytes = tiles.get(path)!;
    for (const bad of [undefined, bytes.subarray(32), bytes.subarray(1), new Uint8Array(bytes.length + 32)]) {
      const changed = new Map(tiles);
      if (bad === undefined) changed.delete(path);
      else changed.set(path, bad);
      assert.throws(() => hashRange(range, size, changed), { name: 'TypeError', message: new RegExp(path) });
    }
  }
});

test('tilesForRanges names a tile once, and no more than a proof needs', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 40 }), fc.nat(2 ** 40), (size, somewhere) => {
      const tree = tilesForRanges(
        [
          { start: 0, end: size },
          { start: somewhere % size, end: size },
        ],
        size,
      );
      assert.equal(new Set(paths(tree)).size, tree.length);
      for (const one of tree) {
        assert.notEqual(one.level, 'entries');
        const hashes = hashesAtLevel(Number(one.level), size);
        assert.equal(one.width, Math.min(256, hashes - one.index * 256), 'as wide as it is in that tree');
      }
    }),
    { numRuns: 300 },
  );
});

test('formatEntryBundle and parseEntryBundle are inverse, and another count is refused', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 600 }), { maxLength: 8 }), fc.nat(10), (entries, other) => {
      const bytes = formatEntryBundle(entries);
      assert.deepEqual(parseEntryBundle(bytes, entries.length), entries);
      if (other !== entries.length) assert.equal(parseEntryBundle(bytes, other), null);
    }),
    { numRuns: 1000 },
  );
});

test('parseEntryBundle refuses bytes cut or added anywhere', () => {
  const bytes = formatEntryBundle([toUtf8('one'), new Uint8Array(0), toUtf8('three')]);
  assert.deepEqual([...bytes], [0, 3, ...Buffer.from('one'), 0, 0, 0, 5, ...Buffer.from('three')]);
  for (let end = 0; end < bytes.length; end++) assert.equal(parseEntryBundle(bytes.subarray(0, end), 3), null, `cut at ${end}`);
  for (const more of [[0], [0, 0], [1, 0], [255]]) assert.equal(parseEntryBundle(Uint8Array.from([...bytes, ...more]), 3), null);
  assert.deepEqual(parseEntryBundle(new Uint8Array(0), 0), []);
  assert.equal(parseEntryBundle(new Uint8Array(1), 0), null);
});

test('formatEntryBundle takes entries of 65,535 bytes and none above', () => {
  const most = new Uint8Array(MAX_ENTRY_BYTES).fill(1);
  assert.deepEqual(parseEntryBundle(formatEntryBundle([most, most]), 2), [most, most]);
  assert.throws(() => formatEntryBundle([new Uint8Array(MAX_ENTRY_BYTES + 1)]), TypeError);
});
