/** Bundles of documents in a log, for tests: a tree of one's own, signed by its log and cosigned by whom one likes. */
import { type Bundle, formatBundle } from '../bundle/bundle.ts';
import { sampleSignedCheckpoint, type SampleNoteSigner } from '../bundle/samples.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import { formatLogEntry } from '../log-entry/log-entry.ts';
import { leafHash } from '../merkle/hash.ts';
import { sampleTree } from '../merkle/samples.ts';
import { noteKeyHash } from '../note/verifier-key.ts';
import { LOG_SIGNER, sampleKeyId, sampleSigner, WITNESS_ED25519 } from '../policy/samples.ts';
import type { LoggedEntry } from '../quorum/redecide.ts';

/** Numbers of all keys that sample documents are signed with. */
const NUMBERS = [11, 12, 13, 14, 15, 16, 31, 41, 42, 43, 91, 92];

export function sampleBundlesOf(
  entries: readonly LoggedEntry[],
  signers: readonly SampleNoteSigner[] = [LOG_SIGNER, WITNESS_ED25519],
): Bundle[] {
  const [log] = signers;
  if (log === undefined) throw new TypeError('a log has a key');
  const documents = entries.map(({ payloadType, payload, digest, signer }) => {
    const number = NUMBERS.find((one) => sampleKeyId(one) === signer);
    if (number === undefined) throw new TypeError('a sample document is signed by one of the sample keys');
    const signer_ = sampleSigner(number);
    const { key } = signer_;
    const signature = signer_.sign(payloadType, payload);
    return { payloadType, payload, signature, keyHint: key.id, entry: formatLogEntry({ digest, signature, key }) };
  });
  const tree = sampleTree(documents.map((one) => leafHash(one.entry)));
  const checkpoint = sampleSignedCheckpoint({ origin: log.key.name, size: tree.size, root: tree.root, extensions: [] }, signers);
  return documents.map((document, index) => ({
    ...document,
    index,
    logId: noteKeyHash(log.key.name, log.key.type, log.key.publicKey),
    proof: tree.proveInclusion(index),
    treeSize: tree.size,
    root: tree.root,
    checkpoint,
  }));
}

export function named(bundles: readonly Bundle[]): { name: string; bytes: Uint8Array }[] {
  return bundles.map((one) => ({ name: `${one.index}.sigstore.json`, bytes: toUtf8(formatBundle(one)) }));
}
