/** Made-up releases for the rows of signing: two builders that agree on many packages, a signed policy, and requests to sign. */
import { sign } from 'node:crypto';
import { type Bundle, formatBundle } from '@lockstep/protocol/bundle/bundle';
import {
  sampleEd25519Witness,
  sampleLogSigner,
  sampleMlDsaWitness,
  type SampleNoteSigner,
  sampleSignedCheckpoint,
} from '@lockstep/protocol/bundle/samples';
import { toBase64 } from '@lockstep/protocol/bytes/base64';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { COMMITMENT, OPENING, REVEAL } from '@lockstep/protocol/commitment/documents';
import { buildId, type Definition } from '@lockstep/protocol/definition/definition';
import { digestBytes, type Sha256 } from '@lockstep/protocol/digest/digest';
import { formatDocument } from '@lockstep/protocol/dsse/document';
import { IN_TOTO_PAYLOAD, pae } from '@lockstep/protocol/dsse/envelope';
import { canonicalBytes, canonicalText } from '@lockstep/protocol/json/canonical';
import type { Json } from '@lockstep/protocol/json/parse';
import type { KeyUse } from '@lockstep/protocol/key/key-use';
import { publicKeyToPem } from '@lockstep/protocol/key/p256';
import { formatLogEntry } from '@lockstep/protocol/log-entry/log-entry';
import { leafHash } from '@lockstep/protocol/merkle/hash';
import { sampleTree } from '@lockstep/protocol/merkle/samples';
import { formatVerifierKey, noteKeyHash } from '@lockstep/protocol/note/verifier-key';
import { parsePolicy } from '@lockstep/protocol/policy/parse-policy';
import { POLICY_TARGET, type Policy } from '@lockstep/protocol/policy/policy';
import { statementOfBuild } from '@lockstep/protocol/provenance/statement-of-build';
import { type LoggedEntry, redecide } from '@lockstep/protocol/quorum/redecide';
import { deriveRelease } from '@lockstep/protocol/release/release-record';
import { planRelease } from '@lockstep/protocol/signing/plan';
import { formatRequest } from '@lockstep/protocol/signing/request';
import { fileInfo, ROOT_KEYS, rootJson, signed, signSnapshot, signTargets, signTimestamp } from '@lockstep/protocol/tuf/samples';
import type { Ambient } from '@lockstep/protocol/variation/deal';
import { makeSigningKey, type SigningKey } from './documents.ts';
import { ambientsOf, type Farm, makeBuild, roundDocuments, sha256Of } from './farm.ts';
import { BenchError } from './measure.ts';

/** About what the environment of a small C package has. */
export const DEBIAN_PACKAGES = 150;
/** Seconds since 1970: a little after the sample witness has seen everything. */
export const NOW = 1_760_000_600;
/** What a node that is benchmarked is called. */
export const NODE = 'bench';
/** What the node pins. */
export const ROOT = signed(rootJson(), ROOT_KEYS);

const BUILDERS = 2;
/** Packages of one source are often a library, its headers and its tools. */
const FILES = 3;
/** The log that `roundDocuments` names. */
const LOG = sampleLogSigner('log.example.org/bench', 1);
const WITNESSES = [sampleEd25519Witness(), sampleMlDsaWitness()];
const USES: readonly KeyUse[] = ['release-dsse', 'release-minisign'];

export interface Release {
  readonly buildId: string;
  readonly policy: Policy;
  /** As a node reads them: seven documents of one round. */
  readonly entries: readonly LoggedEntry[];
  /** @param checkpoint the newest of the node's own log; null: it has signed nothing yet */
  readonly request: (checkpoint: string | null) => Uint8Array;
}

/** @param packages of the Debian environment in each statement; 0 for a root file system */
export function makeReleases(packages: number, count: number): Release[] {
  const { farm, files } = makePolicy();
  const builds = Array.from({ length: count }, (_, number) => makeBuild(number, packages));
  const said = builds.map((definition) => documentsOf(farm, definition));
  const documents = said.flat().map(sealed);
  const bundles = bundlesOf(documents);
  const entries = documents.map(
    ({ payloadType, payload, digest, by }, index): LoggedEntry => ({
      index,
      origin: LOG.key.name,
      payloadType,
      payload,
      digest,
      signer: by.key.id,
    }),
  );
  return builds.map((definition, number): Release => {
    const from = number * (said[0]?.length ?? 0);
    const to = from + (said[number]?.length ?? 0);
    const own = entries.slice(from, to);
    const { policy } = farm;
    return {
      buildId: buildId(definition),
      policy,
      entries: own,
      request: requestOf(policy, files, definition, own, bundles.slice(from, to)),
    };
  });
}

/** The policy, and the repository that it is a target of, by path. */
function makePolicy(): { readonly farm: Farm; readonly files: Record<string, string> } {
  const builders = Array.from({ length: BUILDERS }, makeSigningKey);
  const coordinator = makeSigningKey();
  const bytes = toUtf8(
    canonicalText({
      schema: 'lockstep-policy/v1',
      name: 'bench',
      version: 1,
      expires: '2030-01-01T00:00:00Z',
      builders: builders.map(({ key }, at) => ({
        name: `b${at}`,
        key: publicKeyToPem(key),
        domain: { operator: `operator ${at}`, site: `site ${at}`, lineage: 'debian, runc' },
      })),
      coordinators: [{ name: 'coordinator', key: publicKeyToPem(coordinator.key) }],
      release: { threshold: 1, keys: [{ name: 'release', key: publicKeyToPem(makeSigningKey().key) }], formats: [] },
      logs: [{ key: formatVerifierKey(LOG.key), operator: 'operator 0', site: 'site 0' }],
      witnesses: [{ name: 'w', keys: WITNESSES.map(({ key }) => formatVerifierKey(key)), operator: 'operator 2', site: 'site 2' }],
      witness_quorum: 'w',
      rules: [{ packages: '*', tier: 'container', quorum: BUILDERS, variations: ['clock'], sources: ['*'] }],
    }),
  );
  const plain = (file: Uint8Array): string => Buffer.from(file).toString();
  const files = {
    'metadata/1.targets.json': plain(signTargets({ targets: { [POLICY_TARGET]: fileInfo(bytes) } })),
    'metadata/1.snapshot.json': plain(signSnapshot()),
    'metadata/timestamp.json': plain(signTimestamp()),
    [`targets/${sha256Of(bytes)}.${POLICY_TARGET}`]: plain(bytes),
  };
  return { farm: { policy: parsePolicy(bytes, POLICY_TARGET), builders, coordinator }, files };
}

interface Said {
  readonly by: SigningKey;
  readonly payloadType: string;
  readonly payload: Uint8Array;
}

/** Opening, commitments, reveals, statements. */
function documentsOf(farm: Farm, definition: Definition): Said[] {
  const ambients = ambientsOf(farm, buildId(definition));
  const payloads = ambients.map((ambient, at) => statement(definition, at, ambient));
  const digests = payloads.map((payload) => sha256Of(pae(IN_TOTO_PAYLOAD, payload)));
  const round = roundDocuments(farm, buildId(definition), ambients, digests);
  const byBuilder = (payloadType: string, all: readonly Uint8Array[]): Said[] =>
    farm.builders.map((by, at) => ({ by, payloadType, payload: all[at] ?? new Uint8Array(0) }));
  return [
    { by: farm.coordinator, payloadType: OPENING.payloadType, payload: formatDocument(OPENING, round.opening) },
    ...byBuilder(
      COMMITMENT.payloadType,
      round.commitments.map((one) => formatDocument(COMMITMENT, one)),
    ),
    ...byBuilder(
      REVEAL.payloadType,
      round.reveals.map((one) => formatDocument(REVEAL, one)),
    ),
    ...byBuilder(IN_TOTO_PAYLOAD, payloads),
  ];
}

function statement(definition: Definition, builder: number, ambient: Ambient): Uint8Array {
  const facts = statementOfBuild({
    definition,
    farmId: 'example-build-1',
    outputs: Array.from({ length: FILES }, (_, at) => ({ name: `hello-${at}`, size: 100_000, digest: digestBytes(toUtf8(`file ${at}`)) })),
    sandbox: { runtime: 'runc 1.3', cgroup: 'v2', kernel: '6.12.0', silo: '0.1.0' },
    environmentSha256: 'e'.repeat(64),
    variation: ambient,
    byproducts: [{ name: 'transcript', sha256: sha256Of(`transcript ${builder}`), size: 1000 }],
    builderVersion: '0.1.0',
    invocationId: `by ${builder}`,
    startedOn: NOW - 7200,
    finishedOn: NOW - 7000,
  });
  return canonicalBytes(JSON.parse(JSON.stringify(facts)) as Json);
}

interface Sealed extends Said {
  readonly digest: Sha256;
  readonly signature: Uint8Array;
  readonly entry: Uint8Array;
}

function sealed(said: Said): Sealed {
  const message = pae(said.payloadType, said.payload);
  const digest = sha256Of(message);
  const signature = new Uint8Array(sign('sha256', message, said.by.privateKey));
  return { ...said, digest, signature, entry: formatLogEntry({ digest, signature, key: said.by.key }) };
}

/** All under one checkpoint that the log has signed and a witness with both of its keys. */
function bundlesOf(documents: readonly Sealed[]): Bundle[] {
  const tree = sampleTree(documents.map((one) => leafHash(one.entry)));
  const signers: readonly SampleNoteSigner[] = [LOG, ...WITNESSES];
  const checkpoint = sampleSignedCheckpoint({ origin: LOG.key.name, size: tree.size, root: tree.root, extensions: [] }, signers);
  return documents.map(({ payloadType, payload, signature, entry, by }, index) => ({
    payloadType,
    payload,
    signature,
    entry,
    keyHint: by.key.id,
    index,
    logId: noteKeyHash(LOG.key.name, LOG.key.type, LOG.key.publicKey),
    proof: tree.proveInclusion(index),
    treeSize: tree.size,
    root: tree.root,
    checkpoint,
  }));
}

function requestOf(
  policy: Policy,
  files: Record<string, string>,
  definition: Definition,
  entries: readonly LoggedEntry[],
  bundles: readonly Bundle[],
): Release['request'] {
  const id = buildId(definition);
  const decided = redecide(policy, entries, id);
  const wish = { line: 'main', previous: null, time: `${new Date(NOW * 1000).toISOString().slice(0, 19)}Z` };
  const facts = { policy, log: LOG.key.name, source: definition.lock.source.ref };
  const record = decided === null ? 'nobody has built it' : deriveRelease(decided.decision, facts, wish);
  if (typeof record === 'string') throw new BenchError(record);
  const plan = planRelease(record, USES);
  if (typeof plan === 'string') throw new BenchError(plan);
  const texts = bundles.map(formatBundle);
  return (checkpoint) =>
    formatRequest({
      schema: 'lockstep-signing-request/v1',
      purpose: 'release',
      nodes: { [NODE]: checkpoint },
      expected: plan.map(({ use, file, message }) => ({ use, file, bytes: toBase64(message) })),
      build_id: id,
      ...wish,
      policy: files,
      bundles: texts,
      consistency: [],
    });
}
