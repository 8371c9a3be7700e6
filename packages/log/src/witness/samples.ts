/** Witnesses for tests: in memory and behind HTTP, and logs of any length for them to look at. */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js';
import { formatCheckpointText } from '@lockstep/protocol/checkpoint/checkpoint';
import { EMPTY_TREE, growTree, rootOf } from '@lockstep/protocol/merkle/growing-tree';
import { leafHash, type TreeHash } from '@lockstep/protocol/merkle/hash';
import type { TreeHead } from '@lockstep/protocol/merkle/proof';
import { formatNote } from '@lockstep/protocol/note/note';
import { formatVerifierKey, makeVerifierKey, type VerifierKey } from '@lockstep/protocol/note/verifier-key';
import type { Cells } from '@lockstep/store/cells';
import type { NoteSigner } from '../key/log-key.ts';
import type { LogSource } from '../source/log-source.ts';
import { proveConsistency } from '../source/tree-reader.ts';
import { formatRequest, type Witness } from './witness.ts';

export function memoryCells(cells: Map<string, string> = new Map()): Cells {
  return {
    get: (name) => cells.get(name) ?? null,
    swap(name, expected, next) {
      if ((cells.get(name) ?? null) !== expected) return false;
      cells.set(name, next);
      return true;
    },
    names: () => [...cells.keys()],
    remove: (name) => void cells.delete(name),
  };
}

function ed25519Signer(): NoteSigner {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return {
    publicKey: new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }).subarray(-32)),
    sign: (message) => sign(null, message, privateKey),
  };
}

export function memoryWitness(name: string, logs: readonly VerifierKey[], cells = memoryCells()): Witness {
  const ed25519 = ed25519Signer();
  const { publicKey, secretKey } = ml_dsa44.keygen(randomBytes(32));
  return {
    cells,
    logs: new Map(logs.map((key) => [key.name, logs.filter((one) => one.name === key.name)])),
    ed25519: { key: makeVerifierKey(name, 'cosignature-ed25519', ed25519.publicKey), signer: ed25519 },
    mlDsa: {
      key: makeVerifierKey(name, 'cosignature-ml-dsa-44', publicKey),
      signer: { publicKey, sign: (message) => ml_dsa44.sign(message, secretKey) },
    },
    now: () => 1_800_000_000.5,
  };
}

/** The same witness without its slow signature, where thousands of requests are made. */
export function hasty(witness: Witness): Witness {
  return { ...witness, mlDsa: { key: witness.mlDsa.key, signer: { ...witness.mlDsa.signer, sign: () => new Uint8Array(2420) } } };
}

export function policyFor(witness: Witness, url: string): string {
  const key = formatVerifierKey;
  return `witness e ${key(witness.ed25519.key)} ${url}\nwitness m ${key(witness.mlDsa.key)} ${url}\ngroup both all e m\nquorum both\n`;
}

export async function listen(server: Server, port = 0): Promise<string> {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

export async function stop(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

export interface SampleLog {
  readonly key: VerifierKey;
  readonly source: LogSource;
  head(size: number): TreeHead;
  note(head: TreeHead): string;
  /** Signed by its key. */
  noteAt(size: number): string;
  request(from: number, to: number): Promise<Uint8Array>;
}

/** A log that was published at every size up to `size`, one entry after the other. */
export function sampleLog(
  size: number,
  origin = 'log.example.org/sample',
  entryOf = (index: number): string => `entry ${index}`,
): SampleLog {
  const signer = ed25519Signer();
  const key = makeVerifierKey(origin, 'ed25519', signer.publicKey);
  const files = new Map<string, Uint8Array>();
  const roots: TreeHash[] = [rootOf(EMPTY_TREE)];
  let edge = EMPTY_TREE;
  for (let index = 0; index < size; index++) {
    const grown = growTree(edge, [leafHash(Buffer.from(entryOf(index)))]);
    for (const [path, bytes] of grown.tiles) files.set(path, bytes);
    edge = grown.edge;
    roots.push(rootOf(edge));
  }
  const source: LogSource = { name: 'sample', read: (path) => Promise.resolve(files.get(path) ?? null) };
  const head = (at: number): TreeHead => ({ size: at, root: roots[at] ?? new Uint8Array(32) });
  const note = (at: TreeHead): string => {
    const text = formatCheckpointText({ origin, extensions: [], ...at });
    return formatNote({ text, signatures: [{ name: key.name, keyId: key.keyId, signature: signer.sign(Buffer.from(text)) }] });
  };
  const noteAt = (at: number): string => note(head(at));
  return {
    key,
    source,
    head,
    note,
    noteAt,
    request: async (from, to) => Buffer.from(formatRequest(from, from > to ? [] : await proveConsistency(source, from, to), noteAt(to))),
  };
}
