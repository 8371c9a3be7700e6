/** A log in memory whose every step can be watched, delayed or made to fail, and documents to put into it. */
import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseWitnessPolicy } from '@lockstep/protocol/checkpoint/witness-policy';
import type { Sha256 } from '@lockstep/protocol/digest/digest';
import { pae } from '@lockstep/protocol/dsse/envelope';
import { publicKeyFromSpki } from '@lockstep/protocol/key/p256';
import { makeVerifierKey, type VerifierKey } from '@lockstep/protocol/note/verifier-key';
import { formatStaged, parseStaged } from '../files/staging.ts';
import type { NoteSigner } from '../key/log-key.ts';
import { readFromScratch, readNote, rootOfEntries, type ReadFile, type SecondReading } from '../source/samples.ts';
import type { LogHome } from './log-home.ts';
import type { Sequencer } from './sequencer.ts';
import { type CheckedSubmission, checkSubmission } from './submission.ts';

const ORIGIN = 'log.example.org/farm';

function newSigner(): NoteSigner {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const der = publicKey.export({ type: 'spki', format: 'der' });
  return { publicKey: new Uint8Array(der.subarray(-32)), sign: (message) => sign(null, message, privateKey) };
}
const SIGNER = newSigner();
export const LOG_KEY: VerifierKey = makeVerifierKey(ORIGIN, 'ed25519', SIGNER.publicKey);

/** What is kept when every process is gone. */
export interface Disk {
  files: Map<string, Uint8Array>;
  /** Public files as they would be found after a power cut. */
  flushed: Map<string, Uint8Array>;
  readonly staged: Map<Sha256, Uint8Array>;
  readonly cells: Map<string, string>;
  /** Notes in the order in which they were swapped in, and published. */
  readonly swapped: string[];
  readonly published: string[];
}

export function emptyDisk(): Disk {
  return { files: new Map(), flushed: new Map(), staged: new Map(), cells: new Map(), swapped: [], published: [] };
}

export function copyDisk(disk: Disk): Disk {
  return {
    files: new Map(disk.files),
    flushed: new Map(disk.flushed),
    staged: new Map(disk.staged),
    cells: new Map(disk.cells),
    swapped: [...disk.swapped],
    published: [...disk.published],
  };
}

/** For a step that is never over: the process was killed there. */
export const FOREVER = new Promise<never>(() => undefined);

/** Is called in place of each step, and decides whether and when it takes effect. */
export type Around = <T>(step: string, effect: () => T) => T;

export interface Conduct {
  readonly around?: Around;
  /** Waited for before each asynchronous step. */
  readonly pause?: (step: string) => Promise<void>;
  /** Waited for after it has taken effect, before the answer arrives. */
  readonly delay?: (step: string) => Promise<void>;
  readonly witnessPolicy?: string;
}

export function memoryHome(disk: Disk, { around = (_, effect) => effect(), pause, delay, witnessPolicy }: Conduct = {}): LogHome {
  const step = async <T>(name: string, effect: () => T): Promise<T> => {
    await pause?.(name);
    const result = around(name, effect);
    await delay?.(name);
    return result;
  };
  return {
    root: '/nowhere',
    opened: new Map(),
    origin: ORIGIN,
    key: LOG_KEY,
    signer: SIGNER,
    witnesses: witnessPolicy === undefined ? null : parseWitnessPolicy(witnessPolicy, 'policy'),
    files: {
      durable: false,
      read: (path) => step(`files.read ${path}`, () => disk.files.get(path) ?? null),
      write: (path, bytes) => step(`files.write ${path}`, () => void disk.files.set(path, Uint8Array.from(bytes))),
      replaceIf: (path, bytes, accept) =>
        step(`files.replaceIf ${path}`, () => {
          if (!accept(disk.files.get(path) ?? null)) return false;
          disk.files.set(path, Uint8Array.from(bytes));
          disk.flushed.set(path, Uint8Array.from(bytes));
          disk.published.push(Buffer.from(bytes).toString());
          return true;
        }),
      flush: () => step('files.flush', () => void (disk.flushed = new Map(disk.files))),
    },
    staging: {
      put: (files) =>
        step('staging.put', () => {
          const bytes = formatStaged(files);
          const digest = sha256Of(bytes);
          disk.staged.set(digest, bytes);
          return digest;
        }),
      get: (digest) =>
        step('staging.get', () => {
          const bytes = disk.staged.get(digest);
          return bytes === undefined ? null : parseStaged(bytes);
        }),
      remove: (digest) => step('staging.remove', () => void disk.staged.delete(digest)),
    },
    cells: {
      get: (name) => step('cells.get', () => disk.cells.get(name) ?? null),
      swap: (name, expected, next) =>
        step('cells.swap', () => {
          if ((disk.cells.get(name) ?? null) !== expected) return false;
          disk.cells.set(name, next);
          disk.swapped.push((JSON.parse(next) as { note: string }).note);
          return true;
        }),
    },
    source: {
      name: 'memory',
      read: (path) => step(`source.read ${path}`, () => disk.files.get(path) ?? null),
    },
  };
}

export function sha256Of(bytes: Uint8Array): Sha256 {
  return createHash('sha256').update(bytes).digest('hex') as Sha256;
}

/** Small, and told apart by its label: the sequencer takes what was checked before, whatever it is. */
export function document(label: string | number, statement = `statement ${label}`): CheckedSubmission {
  const bytes = Buffer.from(statement);
  return {
    submission: { payloadType: 'text/plain', payload: bytes, signature: bytes, signer: SUBMITTER },
    entry: Buffer.from(`entry ${label}`),
    statement: bytes,
    digest: sha256Of(bytes),
  };
}

const BUILDER = generateKeyPairSync('ec', { namedCurve: 'P-256' });

function publicKeyOf(key: typeof BUILDER.publicKey): ReturnType<typeof publicKeyFromSpki> {
  return publicKeyFromSpki(new Uint8Array(key.export({ type: 'spki', format: 'der' })));
}

const SUBMITTER = publicKeyOf(BUILDER.publicKey);

/** As a builder would submit it. */
export function signedDocument(payload: Uint8Array | string, payloadType = 'application/x', keys = BUILDER): CheckedSubmission {
  const bytes = Buffer.from(payload);
  const signature = sign('sha256', pae(payloadType, bytes), keys.privateKey);
  return checkSubmission({ payloadType, payload: bytes, signature, signer: publicKeyOf(keys.publicKey) });
}

/** Lets everything that is under way come to its end: a client that tries again is not in the same turn. */
export async function nextTurn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
}

export function labels(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, at) => `${prefix}${at}`);
}

export const readDisk =
  (disk: Disk): ReadFile =>
  (path) =>
    disk.files.get(path) ?? null;

export const readFolder =
  (root: string): ReadFile =>
  (path) => {
    try {
      return readFileSync(`${root}/${path}`);
    } catch {
      // Not there.
      return null;
    }
  };

/** Size of what is published, as a reader would see it now. */
export function publishedSize(disk: Disk): number {
  return Number(
    Buffer.from(disk.files.get('checkpoint') ?? '\n0')
      .toString()
      .split('\n')[1],
  );
}

/** Everybody who was given an index, and that the published tree covered it by then. */
export class Acknowledged {
  readonly indexes = new Map<string, number>();
  readonly #disk: Disk;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  async append(sequencer: Sequencer, label: string): Promise<void> {
    const index = await sequencer.append(document(label));
    assert.ok(publishedSize(this.#disk) > index, `${label} got ${index} when ${publishedSize(this.#disk)} were published`);
    const before = this.indexes.get(label);
    assert.ok(before === undefined || before === index, `${label} had ${before} and now has ${index}`);
    this.indexes.set(label, index);
  }
}

/** Whatever happened: the tree verifies, whoever was acknowledged is in it, each document once, and no checkpoint went back or forked. */
export function requireSound(disk: Disk, acknowledged: ReadonlyMap<string, number>): SecondReading {
  const reading = readFromScratch(readDisk(disk), LOG_KEY);
  const found = reading.entries.map(String);
  assert.equal(new Set(found).size, found.length, 'no document is there twice');
  for (const [label, index] of acknowledged) assert.equal(found[index], `entry ${label}`);
  let last = 0;
  for (const note of disk.published) {
    const { size } = readNote(note, LOG_KEY);
    assert.ok(size > last, `size ${size} was published after ${last}`);
    last = size;
  }
  const roots = new Map<number, string>();
  for (const note of [...disk.swapped, ...disk.published]) {
    const { size, root } = readNote(note, LOG_KEY);
    assert.equal(roots.get(size) ?? root, root, `one root for size ${size}`);
    roots.set(size, root);
    if (size <= reading.size)
      assert.equal(root, rootOfEntries(reading.entries.slice(0, size)), `${size} is a beginning of ${reading.size}`);
  }
  return reading;
}

/** mulberry32: what went wrong can be made to go wrong again. */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
