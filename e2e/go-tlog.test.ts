/** Go's transparency log library (golang.org/x/mod/sumdb) reads the trees that we write, and we read the ones that it writes. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { test, type TestContext } from 'node:test';
import { sampleEd25519Witness, sampleLogSigner, sampleMlDsaWitness, sampleSignedCheckpoint } from '@lockstep/protocol/bundle/samples';
import { openLogCheckpoint } from '@lockstep/protocol/checkpoint/open';
import { formatEntryBundle } from '@lockstep/protocol/merkle/entry-bundle';
import { EMPTY_TREE, growTree, rootOf } from '@lockstep/protocol/merkle/growing-tree';
import { leafHash } from '@lockstep/protocol/merkle/hash';
import { type TreeHead, verifyConsistency, verifyInclusion } from '@lockstep/protocol/merkle/proof';
import { consistencyRanges, inclusionRanges, type LeafRange } from '@lockstep/protocol/merkle/range';
import { hashRange, newTiles, TILE_WIDTH, tilePath, tilesForRanges } from '@lockstep/protocol/merkle/tile';
import { formatNote, parseNote } from '@lockstep/protocol/note/note';
import { formatVerifierKey, parseVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { ROOT, temporaryFolder } from './lockstep.ts';

const SIZES = [1, 2, 3, 255, 256, 257, 1000, 65_536, 70_000];

interface GoProofs {
  readonly Size: number;
  readonly Root: string;
  readonly Inclusion: Readonly<Record<string, readonly string[] | null>>;
  readonly Consistency: Readonly<Record<string, readonly string[] | null>>;
}

/** @returns the program, or null when there is no Go */
function buildGo(t: TestContext): string | null {
  if (spawnSync('go', ['version']).status !== 0) {
    assert.equal(process.env['CI'], undefined, 'go is missing: apt-get install golang-go golang-golang-x-mod-dev');
    t.skip('go is not installed: another implementation was NOT compared with');
    return null;
  }
  const work = temporaryFolder();
  const run = spawnSync('go', ['build', '-o', `${work}/go-tlog`, `${ROOT}/testdata/go-tlog/main.go`], {
    cwd: work,
    encoding: 'utf8',
    env: { ...process.env, GO111MODULE: 'off', GOPATH: '/usr/share/gocode', GOFLAGS: '', GOCACHE: `${work}/cache` },
    timeout: 100_000,
  });
  assert.equal(run.status, 0, `go build: ${run.stderr} (needs golang-golang-x-mod-dev)`);
  return `${work}/go-tlog`;
}

function runGo(program: string, ...args: string[]): { status: number | null; stderr: string; proofs: GoProofs[] } {
  const run = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 64 << 20, timeout: 60_000 });
  return { status: run.status, stderr: run.stderr, proofs: run.status === 0 ? (JSON.parse(run.stdout) as GoProofs[]) : [] };
}

function save(path: string, bytes: Uint8Array | string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
}

/** Our proof, from the tiles of a folder. */
function prove(folder: string, ranges: readonly LeafRange[], size: number): Uint8Array[] {
  const tiles = new Map(tilesForRanges(ranges, size).map((tile) => [tilePath(tile), readFileSync(`${folder}/${tilePath(tile)}`)]));
  return ranges.map((range) => hashRange(range, size, tiles));
}

const base64 = (hashes: readonly Uint8Array[]): string[] => hashes.map((hash) => Buffer.from(hash).toString('base64'));
const bytes = (hashes: readonly string[] | null): Uint8Array[] => (hashes ?? []).map((hash) => new Uint8Array(Buffer.from(hash, 'base64')));

/** Proofs of Go verify here, and ours are the same bytes. @returns how many there were */
function compare(
  folder: string,
  made: readonly GoProofs[],
  heads: ReadonlyMap<number, TreeHead>,
  leaf: (index: number) => Uint8Array,
): number {
  let count = 0;
  for (const { Size, Root, Inclusion, Consistency } of made) {
    const head = heads.get(Size)!;
    assert.equal(Buffer.from(head.root).toString('base64'), Root, `root of ${Size}`);
    for (const [index, proof] of Object.entries(Inclusion)) {
      const at = Number(index);
      assert.ok(verifyInclusion(leaf(at), at, head, bytes(proof)), `inclusion of ${index} in ${Size}`);
      assert.deepEqual(base64(prove(folder, inclusionRanges(at, Size), Size)), proof ?? [], `inclusion of ${index} in ${Size}`);
      count++;
    }
    for (const [from, proof] of Object.entries(Consistency)) {
      const older = heads.get(Number(from))!;
      assert.ok(verifyConsistency(older, head, bytes(proof)), `consistency of ${from} with ${Size}`);
      assert.deepEqual(base64(prove(folder, consistencyRanges(Number(from), Size), Size)), proof ?? [], `${from} with ${Size}`);
      count++;
    }
  }
  return count;
}

test('Go and we open each other’s checkpoints, read each other’s tiles, and make the same proofs', async (t) => {
  const program = buildGo(t);
  if (program === null) return;

  const log = sampleLogSigner('log.example/ours');
  const signers = [sampleMlDsaWitness(), log, sampleEd25519Witness()];
  const vkey = formatVerifierKey(log.key);
  const entries = Array.from({ length: SIZES.at(-1)! }, (_, index) => Buffer.from(`entry ${index} ${'x'.repeat(index % 300)}`));
  const leaves = entries.map(leafHash);
  const ours = temporaryFolder();
  const heads = new Map<number, TreeHead>();
  let edge = EMPTY_TREE;
  for (const size of SIZES) {
    const from = edge.size;
    const grown = growTree(edge, leaves.slice(from, size));
    edge = grown.edge;
    for (const [path, tile] of grown.tiles) save(`${ours}/${path}`, tile);
    for (const tile of newTiles(from, size)) {
      if (tile.level !== 'entries') continue;
      const first = tile.index * TILE_WIDTH;
      save(`${ours}/${tilePath(tile)}`, formatEntryBundle(entries.slice(first, first + tile.width)));
    }
    const head = { size, root: rootOf(edge) };
    heads.set(size, head);
    save(`${ours}/checkpoint-${size}`, sampleSignedCheckpoint({ origin: log.key.name, ...head, extensions: [] }, signers));
  }

  await t.test('Go reads whole trees that we wrote', (sub) => {
    const read = runGo(program, 'read', ours, vkey, ...SIZES.map(String));
    assert.equal(read.status, 0, read.stderr);
    assert.equal(read.proofs.length, SIZES.length);
    sub.diagnostic(`${compare(ours, read.proofs, heads, (index) => leaves[index]!)} proofs are the same bytes`);
  });

  await t.test('Go refuses a checkpoint of ours that was changed, another key, and a changed tile', () => {
    const read = (vkey_: string): string => {
      const run = runGo(program, 'read', ours, vkey_, '257');
      assert.equal(run.status, 1);
      return run.stderr;
    };
    assert.match(read(formatVerifierKey(sampleLogSigner(log.key.name, 50).key)), /no verifiable signatures/);
    const path = `${ours}/checkpoint-257`;
    const good = readFileSync(path, 'utf8');
    const note = parseNote(good);
    writeFileSync(path, formatNote({ ...note, text: note.text.replace('257', '258') }));
    assert.match(read(vkey), /invalid signature/);
    writeFileSync(path, good.slice(0, -1));
    assert.match(read(vkey), /malformed note/);
    writeFileSync(path, good);
    for (const tile of ['tile/0/000', 'tile/0/001.p/1', 'tile/1/000.p/1', 'tile/entries/000']) {
      const whole = readFileSync(`${ours}/${tile}`);
      const changed = Buffer.from(whole);
      changed[5] = (changed[5] ?? 0) ^ 1;
      writeFileSync(`${ours}/${tile}`, changed);
      assert.match(read(vkey), /inconsistent|is not the leaf/, tile);
      writeFileSync(`${ours}/${tile}`, whole);
    }
    assert.equal(runGo(program, 'read', ours, vkey, '257').status, 0, 'and takes it again once all is restored');
  });

  await t.test('we read whole trees that Go wrote', (sub) => {
    const theirs = temporaryFolder();
    const written = runGo(program, 'write', theirs, 'log.example/go', ...SIZES.map(String));
    assert.equal(written.status, 0, written.stderr);
    const text = readFileSync(`${theirs}/vkey`, 'utf8');
    const key = parseVerifierKey(text);
    assert.equal(formatVerifierKey(key), text);
    const found = new Map<number, TreeHead>();
    for (const size of SIZES) {
      const { checkpoint } = openLogCheckpoint(readFileSync(`${theirs}/checkpoint-${size}`), key);
      assert.equal(checkpoint.size, size);
      const range = [{ start: 0, end: size }];
      assert.deepEqual(base64(prove(theirs, range, size)), base64([checkpoint.root]), `root of ${size} from its tiles`);
      found.set(size, checkpoint);
    }
    const leaf = (index: number): Uint8Array => leafHash(Buffer.from(`record ${index}`));
    sub.diagnostic(`${compare(theirs, written.proofs, found, leaf)} proofs are the same bytes`);

    const grown = growTree(
      EMPTY_TREE,
      Array.from({ length: 70_000 }, (_, index) => leaf(index)),
    );
    for (const [path, tile] of grown.tiles) assert.ok(readFileSync(`${theirs}/${path}`).equals(tile), `${path} is the same file`);
  });
});
