/** What protocol says of a note, a checkpoint, a bundle or a proof, as text: asked once in Node and once, bundled, in a browser. */
import { formatBundle, parseBundle } from '@lockstep/protocol/bundle/bundle';
import { openBundle } from '@lockstep/protocol/bundle/open-bundle';
import { formatTlogProof, parseTlogProof } from '@lockstep/protocol/bundle/tlog-proof';
import { fromBase64, toBase64 } from '@lockstep/protocol/bytes/base64';
import { fromUtf8 } from '@lockstep/protocol/bytes/utf8';
import { openCheckpoint, openLogCheckpoint } from '@lockstep/protocol/checkpoint/open';
import { formatWitnessPolicy, parseWitnessPolicy } from '@lockstep/protocol/checkpoint/witness-policy';
import { COMMITMENT, OPENING } from '@lockstep/protocol/commitment/documents';
import { readDocument } from '@lockstep/protocol/dsse/document';
import { parsePolicy } from '@lockstep/protocol/policy/parse-policy';
import { requireSignatures } from '@lockstep/protocol/tuf/client-workflow';
import { parseMetadata } from '@lockstep/protocol/tuf/metadata';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { isSignedEntry, parseLogEntry } from '@lockstep/protocol/log-entry/log-entry';
import { verifyConsistency, verifyInclusion } from '@lockstep/protocol/merkle/proof';
import { formatNote, parseNote } from '@lockstep/protocol/note/note';
import { formatVerifierKey, parseVerifierKey } from '@lockstep/protocol/note/verifier-key';

/** A size or index, a leaf or root in base64, and hashes in base64. */
export interface ProofQuestion {
  readonly from: number;
  readonly fromHash: string;
  readonly size: number;
  readonly root: string;
  readonly proof: readonly string[];
}

export interface Question {
  readonly kind:
    | 'note'
    | 'key'
    | 'checkpoint'
    | 'log-checkpoint'
    | 'bundle'
    | 'entry'
    | 'tlog-proof'
    | 'witness-policy'
    | 'policy'
    | 'root'
    | 'opening'
    | 'commitment';
  /** Base64. */
  readonly input: string;
}

export interface Questions {
  /** Verifier keys: the log’s first, then those of witnesses. */
  readonly keys: readonly string[];
  readonly files: readonly Question[];
  readonly inclusion: readonly ProofQuestion[];
  readonly consistency: readonly ProofQuestion[];
}

const bytesOf = (text: string): Uint8Array => fromBase64(text) ?? new Uint8Array(0);

function read(question: Question, keys: ReturnType<typeof parseVerifierKey>[]): unknown {
  const input = bytesOf(question.input);
  const text = fromUtf8(input) ?? '';
  const [log, ...witnesses] = keys;
  if (log === undefined) throw new TypeError('no key');
  const signers = (signed: ReturnType<typeof openCheckpoint>): unknown => signed.signedBy.map(({ key, time }) => [key.keyId, time]);
  const readers: Readonly<Record<Question['kind'], () => unknown>> = {
    note: () => formatNote(parseNote(input)),
    key: () => formatVerifierKey(parseVerifierKey(text)),
    checkpoint: () => {
      const opened = openCheckpoint(input, keys);
      return [opened.checkpoint.origin, opened.checkpoint.size, toBase64(opened.checkpoint.root), signers(opened)];
    },
    'log-checkpoint': () => signers(openLogCheckpoint(input, log, witnesses)),
    bundle: () => {
      const bundle = parseBundle(input);
      const opened = openBundle(bundle, [log], witnesses);
      return [formatBundle(bundle), opened.digest, opened.index, opened.signer.id, signers(opened.opened)];
    },
    entry: () => {
      const entry = parseLogEntry(input);
      return [entry.digest, entry.key.id, isSignedEntry(entry)];
    },
    'tlog-proof': () => formatTlogProof(parseTlogProof(text)),
    'witness-policy': () => formatWitnessPolicy(parseWitnessPolicy(text, 'policy')),
    policy: () => {
      const policy = parsePolicy(input, 'policy');
      return [policy.sha256, policy.version, policy.rules, policy.builders.map((one) => [one.name, one.key.id, one.domain])];
    },
    root: () => {
      const root = parseMetadata('root', input);
      requireSignatures('root', root, root.signed);
      return [root.signed, toBase64(root.bytes)];
    },
    opening: () => readDocument(OPENING, OPENING.payloadType, input),
    commitment: () => readDocument(COMMITMENT, COMMITMENT.payloadType, input),
  };
  return readers[question.kind]();
}

function answer(question: Question, keys: ReturnType<typeof parseVerifierKey>[]): string {
  try {
    return JSON.stringify(['accepted', read(question, keys)]);
  } catch (error) {
    return JSON.stringify(error instanceof LockstepError ? ['refused', error.toData()] : ['broken', String(error)]);
  }
}

function checkInclusion(one: ProofQuestion): boolean {
  return verifyInclusion(bytesOf(one.fromHash), one.from, { size: one.size, root: bytesOf(one.root) }, one.proof.map(bytesOf));
}

function checkConsistency(one: ProofQuestion): boolean {
  const older = { size: one.from, root: bytesOf(one.fromHash) };
  return verifyConsistency(older, { size: one.size, root: bytesOf(one.root) }, one.proof.map(bytesOf));
}

export function answerAll({ keys, files, inclusion, consistency }: Questions): string[] {
  const known = keys.map(parseVerifierKey);
  return [
    ...files.map((one) => answer(one, known)),
    ...inclusion.map((one) => String(checkInclusion(one))),
    ...consistency.map((one) => String(checkConsistency(one))),
  ];
}

/** Milliseconds for one inclusion proof, once warm, hashes decoded; NaN when it does not hold. */
export function timeInclusion(one: ProofQuestion): number {
  const leaf = bytesOf(one.fromHash);
  const tree = { size: one.size, root: bytesOf(one.root) };
  const proof = one.proof.map(bytesOf);
  const run = (count: number): boolean => {
    for (let left = count; left > 0; left--) if (!verifyInclusion(leaf, one.from, tree, proof)) return false;
    return true;
  };
  if (!run(200)) return Number.NaN;
  const start = performance.now();
  run(1000);
  return (performance.now() - start) / 1000;
}
