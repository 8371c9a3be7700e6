/** For tests: a farm whose builds agree, a signed policy, requests about both, and a signing node in a temporary folder. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after } from 'node:test';
import { formatBundle, parseBundle } from '@lockstep/protocol/bundle/bundle';
import { openBundle } from '@lockstep/protocol/bundle/open-bundle';
import { sampleEd25519Witness } from '@lockstep/protocol/bundle/samples';
import { toBase64 } from '@lockstep/protocol/bytes/base64';
import { fromUtf8, toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { buildId, type Definition, makeDefinition } from '@lockstep/protocol/definition/definition';
import { sampleLock, sampleManifest } from '@lockstep/protocol/definition/samples';
import { sha256Hex } from '@lockstep/protocol/digest/digest';
import { readDocument } from '@lockstep/protocol/dsse/document';
import { IN_TOTO_PAYLOAD } from '@lockstep/protocol/dsse/envelope';
import { canonicalText } from '@lockstep/protocol/json/canonical';
import type { Json } from '@lockstep/protocol/json/parse';
import type { KeyUse } from '@lockstep/protocol/key/key-use';
import { resolvesDigest } from '@lockstep/protocol/lock/lock';
import { leafHash } from '@lockstep/protocol/merkle/hash';
import { sampleTree } from '@lockstep/protocol/merkle/samples';
import { parsePolicy } from '@lockstep/protocol/policy/parse-policy';
import { POLICY_TARGET, type Policy } from '@lockstep/protocol/policy/policy';
import { LOG_SIGNER, samplePem, samplePolicyJson } from '@lockstep/protocol/policy/samples';
import { entry, outputs, type StatementParts, statementBytes } from '@lockstep/protocol/quorum/samples';
import { type LoggedEntry, redecide } from '@lockstep/protocol/quorum/redecide';
import { deriveRelease, releaseDigest, type ReleaseRecord } from '@lockstep/protocol/release/release-record';
import { planRelease, RELEASE_USES } from '@lockstep/protocol/signing/plan';
import { SIGNING_RECORD, type SigningRecord } from '@lockstep/protocol/signing/record';
import { formatRequest, type ReleaseRequest, type SigningRequest } from '@lockstep/protocol/signing/request';
import { fileInfo, ROOT_KEYS, rootJson, signed, signSnapshot, signTargets, signTimestamp } from '@lockstep/protocol/tuf/samples';
import { isoTime } from '@lockstep/protocol/time/iso-time';
import { sampleBundlesOf } from '@lockstep/protocol/verdict/samples';
import { initLog, type LogHome, openLogHome } from '@lockstep/log/sequence/log-home';
import { makeFileKey, openFileKey } from '../custody/file-key.ts';
import type { SigningKey } from '../custody/signing-key.ts';
import { type NodeParts, openNode, type SignerNode } from './node.ts';

/** A little after the sample witness has seen everything (bundle/samples.ts). */
export const NOW = 1_760_000_600;
export const NODE = 'node-1';
const DAY = 86_400;

const folders: string[] = [];
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

export function temporaryFolder(): string {
  const folder = mkdtempSync(`${tmpdir()}/lockstep-node-`);
  folders.push(folder);
  return folder;
}

/** What the node pins. */
export const ROOT = signed(rootJson(), ROOT_KEYS);

export interface SignedPolicy {
  readonly policy: Policy;
  readonly text: string;
  /** The repository, by path. */
  readonly files: Readonly<Record<string, string>>;
}

/** @param version of targets, snapshot and timestamp */
export function signedPolicy(change: Readonly<Record<string, Json>> = {}, version = 1, expires = '2030-01-01T00:00:00Z'): SignedPolicy {
  const text = canonicalText(samplePolicyJson({ release: { threshold: 1, keys: [{ name: 'release', key: samplePem(61) }] }, ...change }));
  const bytes = toUtf8(text);
  const plain = (file: Uint8Array): string => fromUtf8(file) ?? '';
  return {
    text,
    policy: parsePolicy(bytes, POLICY_TARGET),
    files: {
      [`metadata/${version}.targets.json`]: plain(signTargets({ version, targets: { [POLICY_TARGET]: fileInfo(bytes) } })),
      [`metadata/${version}.snapshot.json`]: plain(signSnapshot({ version, expires, meta: { 'targets.json': { version } } })),
      'metadata/timestamp.json': plain(signTimestamp({ version, expires, meta: { 'snapshot.json': { version } } })),
      [`targets/${sha256Hex(bytes)}.${POLICY_TARGET}`]: text,
    },
  };
}

export function definitionOf(version: string, name = 'hello'): Definition {
  const manifest = { ...sampleManifest(), version, name };
  return makeDefinition(manifest, { ...sampleLock(), resolves: resolvesDigest(manifest) });
}

export interface Built {
  readonly version?: string;
  readonly name?: string;
  readonly content?: string;
  readonly builders?: readonly number[];
  readonly outputs?: StatementParts['outputs'];
}

export interface Wish {
  /** The newest checkpoint of the node; null: none is known. */
  readonly checkpoint?: string | null;
  readonly nodes?: Readonly<Record<string, string | null>>;
  readonly previous?: string | null;
  readonly line?: string;
  readonly time?: number;
  readonly policy?: SignedPolicy;
  readonly uses?: readonly KeyUse[];
  /** Sizes of the farm's log from which it is proved to go on. */
  readonly from?: readonly number[];
  /** When the witness has seen the log. */
  readonly witnessed?: number;
}

/** Builds that agree, in a log of their own that only grows; the last thing that is changed is how it is asked about. */
export class SampleFarm {
  readonly entries: LoggedEntry[] = [];
  readonly policy: SignedPolicy = signedPolicy();

  /** @returns the build id */
  build({ version = '1.0', name = 'hello', content = 'good', builders = [11, 12], outputs: made }: Built = {}): string {
    const definition = definitionOf(version, name);
    for (const number of builders)
      this.entries.push(
        entry(
          this.entries.length,
          number,
          IN_TOTO_PAYLOAD,
          statementBytes({ definition, outputs: made ?? outputs(content), invocation: `by ${number} of ${version}` }),
        ),
      );
    return buildId(definition);
  }

  release(build: string, wish: Wish = {}): ReleaseRecord {
    const { policy } = wish.policy ?? this.policy;
    const decided = redecide(policy, this.entries, build);
    const record =
      decided === null
        ? 'no such build'
        : deriveRelease(
            decided.decision,
            { policy, log: LOG_SIGNER.key.name, source: sampleLock().source.ref },
            {
              line: wish.line ?? 'main',
              previous: wish.previous ?? null,
              time: isoTime(wish.time ?? NOW),
            },
          );
    if (typeof record === 'string') throw new TypeError(record);
    return record;
  }

  request(build: string, wish: Wish = {}): ReleaseRequest {
    const plan = planRelease(this.release(build, wish), wish.uses ?? RELEASE_USES);
    if (typeof plan === 'string') throw new TypeError(plan);
    const bundles = sampleBundlesOf(this.entries, [LOG_SIGNER, sampleEd25519Witness('witness.example/1', 2, wish.witnessed ?? NOW - 600)]);
    const tree = sampleTree(bundles.map((one) => leafHash(one.entry)));
    return {
      schema: 'lockstep-signing-request/v1',
      purpose: 'release',
      nodes: wish.nodes ?? { [NODE]: wish.checkpoint ?? null },
      time: isoTime(wish.time ?? NOW),
      expected: plan.map(({ use, file, message }) => ({ use, file, bytes: toBase64(message) })),
      build_id: build,
      line: wish.line ?? 'main',
      previous: wish.previous ?? null,
      policy: { ...(wish.policy ?? this.policy).files },
      bundles: bundles.map((one) => formatBundle(one)),
      consistency: (wish.from ?? []).map((size) => ({ size, hashes: tree.proveConsistency(size).map((hash) => toBase64(hash)) })),
    };
  }

  ask(build: string, wish: Wish = {}): Uint8Array {
    return formatRequest(this.request(build, wish));
  }
}

export const digestOf = releaseDigest;

export interface SampleNode {
  readonly folder: string;
  readonly home: LogHome;
  readonly keys: readonly SigningKey[];
  readonly node: SignerNode;
}

/** The node of a folder: made when there is none, else opened again. */
export async function openSampleNode(
  folder: string,
  uses: readonly KeyUse[] = ['release-dsse', 'release-minisign'],
  change: Partial<NodeParts> = {},
): Promise<SampleNode> {
  const none = (): Promise<null> => Promise.resolve(null);
  const now = new Date(NOW * 1000);
  const key = async (path: string, name: string, use: KeyUse): Promise<SigningKey> => {
    try {
      return await openFileKey(path, none);
    } catch {
      // Not there yet.
      await makeFileKey({ path, name, use, passphrase: null, now });
      return openFileKey(path, none);
    }
  };
  const nodeKey = await key(`${folder}/node.json`, NODE, 'node');
  const keys: SigningKey[] = [];
  for (const use of uses) keys.push(await key(`${folder}/keys/${use}.json`, use, use));
  let home: LogHome;
  try {
    home = openLogHome(`${folder}/log`);
  } catch {
    // Not there yet.
    home = initLog(`${folder}/log`, `${NODE}.signer`, null);
  }
  const node = await openNode({
    name: NODE,
    root: ROOT,
    lines: ['main'],
    keys,
    shares: [],
    nodeKey,
    log: home,
    clock: () => NOW,
    confirm: null,
    ...change,
  });
  return { folder, home, keys: change.keys ?? keys, node };
}

/** What an answer says, and the checkpoint that goes with the next request. */
export function read(home: LogHome, answer: Uint8Array): { readonly record: SigningRecord; readonly checkpoint: string } {
  const bundle = parseBundle(answer);
  const document = openBundle(bundle, [home.key], []);
  const record = readDocument(SIGNING_RECORD, document.payloadType, document.payload);
  if (record === null) throw new TypeError('the answer is no signing record');
  return { record, checkpoint: bundle.checkpoint };
}

export async function askNode(one: SampleNode, request: Uint8Array | SigningRequest): Promise<SigningRecord> {
  return read(one.home, await one.node.answer(request instanceof Uint8Array ? request : formatRequest(request))).record;
}

export async function recordsOf(one: SampleNode): Promise<SigningRecord[]> {
  const all: SigningRecord[] = [];
  for await (const { record } of one.node.log.records()) all.push(record);
  return all;
}

export const days = (count: number): number => count * DAY;
