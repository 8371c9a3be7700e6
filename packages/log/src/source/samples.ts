/**
 * A second reader of a log, for tests: hashes as RFC 6962 words them, recursively, and shares no code with the first.
 * What it accepts was read from the public files alone.
 */
import assert from 'node:assert/strict';
import { createPublicKey, hash, type KeyObject, verify } from 'node:crypto';
import fc from 'fast-check';
import type { VerifierKey } from '@lockstep/protocol/note/verifier-key';

export type ReadFile = (path: string) => Uint8Array | null;

export interface SecondReading {
  readonly size: number;
  readonly root: string;
  readonly entries: readonly Buffer[];
}

const sha256 = (...parts: readonly Uint8Array[]): Buffer => hash('sha256', Buffer.concat(parts), 'buffer');

/** MTH(D[n]) of RFC 6962 section 2.1, over leaf hashes. */
function treeHash(leaves: readonly Buffer[]): Buffer {
  if (leaves.length === 0) return sha256();
  if (leaves.length === 1) return leaves[0] ?? Buffer.alloc(0);
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return sha256(Buffer.of(1), treeHash(leaves.slice(0, split)), treeHash(leaves.slice(split)));
}

export function rootOfEntries(entries: readonly Uint8Array[]): string {
  return treeHash(entries.map((entry) => sha256(Buffer.of(0), entry))).toString('base64');
}

export interface ReadNote {
  readonly origin: string;
  readonly size: number;
  readonly root: string;
}

/** The text of a note and whether the log's line verifies, read by hand. */
export function readNote(note: string, key: VerifierKey): ReadNote {
  const [text = '', signatures = ''] = note.split(/(?<=\n)\n(?=—)/u);
  const [origin = '', size = '', root = ''] = text.split('\n');
  assert.equal(origin, key.name);
  assert.match(size, /^(0|[1-9][0-9]*)$/);
  const own = signatures.split('\n').filter((line) => line.startsWith(`— ${key.name} `));
  assert.equal(own.length, 1, 'one line of the log');
  const bytes = Buffer.from(own[0]?.split(' ')[2] ?? '', 'base64');
  assert.equal(bytes.subarray(0, 4).toString('hex'), key.keyId);
  assert.ok(verify(null, Buffer.from(text), ed25519Key(key.publicKey), bytes.subarray(4)), 'the log signed it');
  return { origin, size: Number(size), root };
}

function ed25519Key(raw: Uint8Array): KeyObject {
  const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), raw]);
  return createPublicKey({ key: der, format: 'der', type: 'spki' });
}

function pathOf(level: string, index: number, width: number): string {
  let name = String(index % 1000).padStart(3, '0');
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000))
    name = `x${String(rest % 1000).padStart(3, '0')}/${name}`;
  return `tile/${level}/${name}${width === 256 ? '' : `.p/${width}`}`;
}

function need(read: ReadFile, path: string): Buffer {
  const bytes = read(path);
  assert.ok(bytes !== null, `${path} is there`);
  return Buffer.from(bytes);
}

/** The whole tree that the published checkpoint (or `note`) names: every entry and every tile, from scratch. */
export function readFromScratch(read: ReadFile, key: VerifierKey, note?: string): SecondReading {
  const { size, root } = readNote(note ?? need(read, 'checkpoint').toString(), key);
  const entries: Buffer[] = [];
  for (let index = 0; index * 256 < size; index++) {
    const width = Math.min(256, size - index * 256);
    const bytes = need(read, pathOf('entries', index, width));
    let at = 0;
    for (let one = 0; one < width; one++) {
      const length = bytes.readUInt16BE(at);
      assert.ok(at + 2 + length <= bytes.length);
      entries.push(bytes.subarray(at + 2, at + 2 + length));
      at += 2 + length;
    }
    assert.equal(at, bytes.length, 'nothing after the last entry');
  }
  let row = entries.map((entry) => sha256(Buffer.of(0), entry));
  assert.equal(treeHash(row).toString('base64'), root, 'the entries hash to the root');
  for (let level = 0; row.length > 0; level++) {
    const above: Buffer[] = [];
    for (let at = 0; at < row.length; at += 256) {
      const part = row.slice(at, at + 256);
      const path = pathOf(String(level), at / 256, part.length);
      assert.deepEqual(need(read, path), Buffer.concat(part), `${path} holds the hashes`);
      if (part.length === 256) above.push(treeHash(part));
    }
    row = above;
  }
  return { size, root, entries };
}

/** Valid bytes with a few of them changed, cut out, repeated, put in or taken from another one. */
export function mutated(valid: readonly Uint8Array[]): fc.Arbitrary<Uint8Array> {
  const edit = fc.record({
    how: fc.constantFrom('flip', 'set', 'cut', 'repeat', 'insert', 'splice', 'end'),
    at: fc.nat(100_000),
    length: fc.nat(80),
    byte: fc.oneof(fc.nat(255), fc.constantFrom(0, 10, 32, 34, 43, 48, 61, 0x80, 0xe2, 0xff)),
    other: fc.constantFrom(...valid),
  });
  return fc.tuple(fc.constantFrom(...valid), fc.array(edit, { minLength: 1, maxLength: 4 })).map(([start, edits]) => {
    let bytes = Buffer.from(start);
    for (const { how, at: anywhere, length, byte, other } of edits) {
      const at = bytes.length === 0 ? 0 : anywhere % bytes.length;
      const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)];
      if (how === 'flip') bytes = Buffer.concat([head, Buffer.of((tail[0] ?? 0) ^ (1 << (byte % 8))), tail.subarray(1)]);
      else if (how === 'set') bytes = Buffer.concat([head, Buffer.of(byte), tail.subarray(1)]);
      else if (how === 'cut') bytes = Buffer.concat([head, tail.subarray(length)]);
      else if (how === 'repeat') bytes = Buffer.concat([head, tail.subarray(0, length), tail]);
      else if (how === 'insert') bytes = Buffer.concat([head, Buffer.of(byte), tail]);
      else if (how === 'splice') bytes = Buffer.concat([head, other.subarray(at % (other.length + 1))]);
      else bytes = Buffer.from(head);
    }
    return new Uint8Array(bytes);
  });
}
