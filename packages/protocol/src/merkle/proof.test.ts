import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { emptyRoot, leafHash, nodeHash } from './hash.ts';
import { MAX_PROOF_HASHES, verifyConsistency, verifyInclusion } from './proof.ts';
import { consistencyRanges, inclusionRanges } from './range.ts';
import { sampleLeaves, sampleTree } from './samples.ts';

/** RFC 6962 section 2.1, word by word and with Node's SHA-256: what the code under test is compared with. */
class Textbook {
  private readonly entries: readonly Uint8Array[];
  private readonly known = new Map<number, Uint8Array>();

  constructor(entries: readonly Uint8Array[]) {
    this.entries = entries;
  }

  /** MTH(D[start:end]). */
  hash(start: number, end: number): Uint8Array {
    const key = start * 65_536 + end;
    const found = this.known.get(key) ?? this.compute(start, end);
    this.known.set(key, found);
    return found;
  }

  private compute(start: number, end: number): Uint8Array {
    if (start === end) return digest();
    if (end - start === 1) return digest(Uint8Array.of(0), this.entries[start]!);
    const k = split(end - start);
    return digest(Uint8Array.of(1), this.hash(start, start + k), this.hash(start + k, end));
  }

  /** PATH(m, D[start:end]). */
  path(m: number, start: number, end: number): Uint8Array[] {
    const n = end - start;
    if (n === 1) return [];
    const k = split(n);
    return m < k
      ? [...this.path(m, start, start + k), this.hash(start + k, end)]
      : [...this.path(m - k, start + k, end), this.hash(start, start + k)];
  }

  /** SUBPROOF(m, D[start:end], b). */
  proof(m: number, start: number, end: number, b = true): Uint8Array[] {
    const n = end - start;
    if (m === n) return b ? [] : [this.hash(start, end)];
    const k = split(n);
    return m <= k
      ? [...this.proof(m, start, start + k, b), this.hash(start + k, end)]
      : [...this.proof(m - k, start + k, end, false), this.hash(start, start + k)];
  }
}

function digest(...parts: Uint8Array[]): Uint8Array {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

function split(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/** The root that a path leads to, from its definition and not from the algorithm of RFC 9162; null for a path of another length. */
function rootOfPath(leaf: Uint8Array, m: number, n: number, path: readonly Uint8Array[]): Uint8Array | null {
  if (n === 1) return path.length === 0 ? leaf : null;
  const last = path.at(-1);
  if (last === undefined) return null;
  const k = split(n);
  const below = m < k ? rootOfPath(leaf, m, k, path.slice(0, -1)) : rootOfPath(leaf, m - k, n - k, path.slice(0, -1));
  if (below === null) return null;
  return m < k ? digest(Uint8Array.of(1), below, last) : digest(Uint8Array.of(1), last, below);
}

/** The same for SUBPROOF: the older and the newer root. */
function rootsOfProof(older: Uint8Array, m: number, n: number, proof: readonly Uint8Array[], b = true): [Uint8Array, Uint8Array] | null {
  if (m === n) {
    if (proof.length !== (b ? 0 : 1)) return null;
    return [proof[0] ?? older, proof[0] ?? older];
  }
  const last = proof.at(-1);
  if (last === undefined) return null;
  const k = split(n);
  const rest = proof.slice(0, -1);
  const below = m <= k ? rootsOfProof(older, m, k, rest, b) : rootsOfProof(older, m - k, n - k, rest, false);
  if (below === null) return null;
  const node = (left: Uint8Array, right: Uint8Array): Uint8Array => digest(Uint8Array.of(1), left, right);
  return m <= k ? [below[0], node(below[1], last)] : [node(last, below[0]), node(last, below[1])];
}

const hex = (hashes: readonly Uint8Array[]): string[] => hashes.map((hash) => Buffer.from(hash).toString('hex'));
const flip = (hash: Uint8Array, bit: number): Uint8Array => hash.map((byte, at) => (at === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
const entries = Array.from({ length: 5000 }, (_, index) => Buffer.from(`leaf ${index}`));
const textbook = new Textbook(entries);
const leaves = sampleLeaves(5000);

test('leafHash, nodeHash and emptyRoot are those of RFC 6962', () => {
  assert.deepEqual(leafHash(new Uint8Array(0)), digest(Uint8Array.of(0)));
  assert.deepEqual(nodeHash(leaves[0]!, leaves[1]!), digest(Uint8Array.of(1), leaves[0]!, leaves[1]!));
  assert.deepEqual(emptyRoot(), digest());
});

test('sampleTree has the roots of the vectors of Certificate Transparency', () => {
  const data = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
  const roots = [
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
    '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
    'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
    '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
  ];
  const bytes = data.map((one) => Buffer.from(one, 'hex'));
  const reference = new Textbook(bytes);
  for (const [at, root] of roots.entries()) {
    const tree = sampleTree(bytes.slice(0, at + 1).map(leafHash));
    assert.equal(Buffer.from(tree.root).toString('hex'), root);
    assert.equal(Buffer.from(reference.hash(0, at + 1)).toString('hex'), root);
  }
  // RFC 6962 section 2.1.3 draws these paths for a tree of seven.
  assert.deepEqual(inclusionRanges(3, 7), [
    { start: 2, end: 3 },
    { start: 0, end: 2 },
    { start: 4, end: 7 },
  ]);
  assert.deepEqual(inclusionRanges(6, 7), [
    { start: 4, end: 6 },
    { start: 0, end: 4 },
  ]);
  assert.deepEqual(consistencyRanges(3, 7), [
    { start: 2, end: 3 },
    { start: 3, end: 4 },
    { start: 0, end: 2 },
    { start: 4, end: 7 },
  ]);
  assert.deepEqual(consistencyRanges(4, 7), [{ start: 4, end: 7 }]);
});

test('every inclusion and consistency proof of every tree up to 130 leaves is the textbook’s, and verifies', () => {
  for (let size = 1; size <= 130; size++) {
    const tree = sampleTree(leaves.slice(0, size));
    assert.deepEqual(tree.root, textbook.hash(0, size));
    for (let index = 0; index < size; index++) {
      const proof = tree.proveInclusion(index);
      assert.deepEqual(hex(proof), hex(textbook.path(index, 0, size)), `inclusion of ${index} in ${size}`);
      assert.ok(verifyInclusion(leaves[index]!, index, tree, proof), `inclusion of ${index} in ${size}`);
    }
    for (let from = 0; from <= size; from++) {
      const proof = tree.proveConsistency(from);
      assert.deepEqual(hex(proof), from === 0 ? [] : hex(textbook.proof(from, 0, size)), `consistency of ${from} with ${size}`);
      assert.ok(verifyConsistency({ size: from, root: textbook.hash(0, from) }, tree, proof), `consistency of ${from} with ${size}`);
    }
  }
});

test('every inclusion proof of large trees, and many consistency proofs, are the textbook’s, and verify', (t) => {
  const sizes = [256, 257, ...fc.sample(fc.integer({ min: 300, max: 5000 }), 2)];
  t.diagnostic(`sizes ${sizes.join(', ')}`);
  for (const size of sizes) {
    const tree = sampleTree(leaves.slice(0, size));
    assert.deepEqual(tree.root, textbook.hash(0, size));
    for (let index = 0; index < size; index++) {
      const proof = tree.proveInclusion(index);
      assert.deepEqual(hex(proof), hex(textbook.path(index, 0, size)), `inclusion of ${index} in ${size}`);
      assert.ok(verifyInclusion(leaves[index]!, index, tree, proof), `inclusion of ${index} in ${size}`);
    }
    for (const from of fc.sample(fc.integer({ min: 1, max: size }), 200)) {
      const proof = tree.proveConsistency(from);
      assert.deepEqual(hex(proof), hex(textbook.proof(from, 0, size)), `consistency of ${from} with ${size}`);
      assert.ok(verifyConsistency({ size: from, root: textbook.hash(0, from) }, tree, proof), `consistency of ${from} with ${size}`);
    }
  }
});

test('verifyInclusion refuses each hash changed, left out, doubled or put elsewhere, and another leaf, root or index', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 600 }), fc.nat(), fc.nat(255), fc.nat(), (size, someIndex, bit, somewhere) => {
      const index = someIndex % size;
      const tree = sampleTree(leaves.slice(0, size));
      const proof = tree.proveInclusion(index);
      const leaf = leaves[index]!;
      const refused = (other: readonly Uint8Array[], what: string): void =>
        assert.equal(verifyInclusion(leaf, index, tree, other), false, what);
      for (const at of proof.keys()) {
        refused(proof.with(at, flip(proof[at]!, bit)), 'changed');
        refused(proof.toSpliced(at, 1), 'left out');
        refused(proof.toSpliced(at, 0, proof[at]!), 'doubled');
        if (at > 0) refused(proof.with(at, proof[at - 1]!).with(at - 1, proof[at]!), 'swapped');
      }
      refused(proof.toSpliced(somewhere % (proof.length + 1), 0, leaves[4999]!), 'one more');
      assert.equal(verifyInclusion(flip(leaf, bit), index, tree, proof), false, 'leaf');
      assert.equal(verifyInclusion(leaf, index, { size, root: flip(tree.root, bit) }, proof), false, 'root');
      const other = somewhere % size;
      assert.equal(verifyInclusion(leaf, other, tree, proof), other === index, 'index');
    }),
    { numRuns: 150 },
  );
});

test('verifyConsistency refuses each hash changed, left out, doubled or put elsewhere, and another root', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 600 }), fc.nat(), fc.nat(255), fc.nat(), (size, someSize, bit, somewhere) => {
      const from = (someSize % size) + 1;
      const tree = sampleTree(leaves.slice(0, size));
      const older = { size: from, root: textbook.hash(0, from) };
      const proof = tree.proveConsistency(from);
      const refused = (other: readonly Uint8Array[], what: string): void =>
        assert.equal(verifyConsistency(older, tree, other), false, what);
      for (const at of proof.keys()) {
        refused(proof.with(at, flip(proof[at]!, bit)), 'changed');
        refused(proof.toSpliced(at, 1), 'left out');
        refused(proof.toSpliced(at, 0, proof[at]!), 'doubled');
        if (at > 0) refused(proof.with(at, proof[at - 1]!).with(at - 1, proof[at]!), 'swapped');
      }
      refused(proof.toSpliced(somewhere % (proof.length + 1), 0, leaves[4999]!), 'one more');
      assert.equal(verifyConsistency({ size: from, root: flip(older.root, bit) }, tree, proof), false, 'older root');
      assert.equal(verifyConsistency(older, { size, root: flip(tree.root, bit) }, proof), false, 'newer root');
      if (from !== size) assert.equal(verifyConsistency(tree, older, proof), false, 'the other way round');
    }),
    { numRuns: 150 },
  );
});

test('verifyInclusion and verifyConsistency say what the definition says for any index, size and length', () => {
  const size = fc.integer({ min: 0, max: 70 });
  const root = (hash: Uint8Array | null | undefined): string | null => (hash ? Buffer.from(hash).toString('hex') : null);
  let accepted = 0;
  fc.assert(
    fc.property(size, size, size, size, fc.nat(2), (n, m, claimedN, claimedM, cut) => {
      if (n === 0 || m >= n) return;
      const tree = { size: claimedN, root: textbook.hash(0, n) };
      const path = textbook.path(m, 0, n);
      const given = cut === 0 ? path : cut === 1 ? path.slice(1) : path.slice(0, -1);
      const expected = claimedM < claimedN && root(rootOfPath(leaves[m]!, claimedM, claimedN, given)) === root(tree.root);
      assert.equal(verifyInclusion(leaves[m]!, claimedM, tree, given), expected);
      accepted += expected ? 1 : 0;
      if (m === 0) return;
      const older = { size: claimedM, root: textbook.hash(0, m) };
      const proof = textbook.proof(m, 0, n);
      const shown = cut === 0 ? proof : cut === 1 ? proof.slice(1) : proof.slice(0, -1);
      const roots = claimedM === 0 || claimedM > claimedN ? null : rootsOfProof(older.root, claimedM, claimedN, shown);
      const consistent = roots !== null && root(roots[0]) === root(older.root) && root(roots[1]) === root(tree.root);
      assert.equal(verifyConsistency(older, tree, shown), consistent);
    }),
    { numRuns: 20_000 },
  );
  assert.ok(accepted > 0, 'some are accepted, so the comparison is not empty');
});

test('verifyInclusion and verifyConsistency refuse what is no index and no size', () => {
  const tree = sampleTree(leaves.slice(0, 5));
  const proof = tree.proveInclusion(2);
  const grown = tree.proveConsistency(3);
  const older = { size: 3, root: textbook.hash(0, 3) };
  const leaf = leaves[2]!;
  assert.ok(verifyInclusion(leaf, 2, tree, proof));
  assert.ok(verifyConsistency(older, tree, grown));
  for (const bad of [Number.NaN, -1, -0.5, 2.5, 2 ** 53, 2 ** 64, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    assert.equal(verifyInclusion(leaf, bad, tree, proof), false, `index ${bad}`);
    assert.equal(verifyInclusion(leaf, 2, { ...tree, size: bad }, proof), false, `size ${bad}`);
    assert.equal(verifyConsistency({ ...older, size: bad }, tree, grown), false, `older size ${bad}`);
    assert.equal(verifyConsistency(older, { ...tree, size: bad }, grown), false, `newer size ${bad}`);
  }
  for (const index of [5, 6, 2 ** 53 - 1]) assert.equal(verifyInclusion(leaf, index, tree, proof), false, `index ${index}`);
  assert.equal(verifyInclusion(leaf, 0, { size: 0, root: emptyRoot() }, []), false, 'nothing is in an empty tree');
});

test('verifyConsistency takes an empty tree and an equal one with an empty proof only, and the right root', () => {
  const tree = sampleTree(leaves.slice(0, 5));
  const empty = { size: 0, root: emptyRoot() };
  assert.ok(verifyConsistency(empty, tree, []));
  assert.ok(verifyConsistency(empty, empty, []));
  assert.ok(verifyConsistency(tree, tree, []));
  assert.equal(verifyConsistency(empty, tree, [leaves[0]!]), false);
  assert.equal(verifyConsistency(tree, tree, [leaves[0]!]), false);
  assert.equal(verifyConsistency({ size: 0, root: leaves[0]! }, tree, []), false, 'an empty tree with a root of something');
  assert.equal(verifyConsistency({ size: 5, root: leaves[0]! }, tree, []), false, 'the same size with another root');
  assert.equal(verifyConsistency(tree, empty, []), false, 'a log that shrank');
});

test('verifyInclusion works with more than 2^32 leaves, and stops at a bounded number of hashes', () => {
  for (const [index, size] of [
    [2 ** 32, 2 ** 32 + 1],
    [2 ** 33 + 5, 2 ** 52 + 12_345],
    [2 ** 53 - 2, 2 ** 53 - 1],
    [0, 2 ** 53 - 1],
  ] as const) {
    const path = inclusionRanges(index, size).map((_, at) => leaves[at]!);
    const root = rootOfPath(leaves[100]!, index, size, path)!;
    assert.ok(verifyInclusion(leaves[100]!, index, { size, root }, path), `${index} of ${size}`);
    assert.equal(verifyInclusion(leaves[100]!, index, { size, root }, path.slice(1)), false);
    const from = index + 1;
    if (from === size) continue;
    const given = consistencyRanges(from, size).map((_, at) => leaves[at]!);
    const roots = rootsOfProof(leaves[0]!, from, size, given)!;
    assert.ok(verifyConsistency({ size: from, root: roots[0] }, { size, root: roots[1] }, given), `${from} to ${size}`);
  }
  const many = Array.from({ length: MAX_PROOF_HASHES + 1 }, () => leaves[0]!);
  assert.equal(verifyInclusion(leaves[0]!, 0, { size: 2 ** 53 - 1, root: leaves[0]! }, many), false);
  assert.equal(verifyConsistency({ size: 1, root: leaves[0]! }, { size: 2 ** 53 - 1, root: leaves[0]! }, many), false);
});

test('verifyInclusion and verifyConsistency refuse hashes that have not 32 bytes', () => {
  const tree = sampleTree(leaves.slice(0, 5));
  const proof = tree.proveInclusion(3);
  const left = proof[0]!;
  for (const bad of [Uint8Array.from([...left, 1]), left.slice(0, 31), new Uint8Array(100)]) {
    assert.equal(verifyInclusion(leaves[3]!, 3, tree, [bad, ...proof.slice(1)]), false, `${bad.length} bytes`);
  }
});
