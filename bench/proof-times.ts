/** Times the checking of proofs: the same code in Node and, bundled, in a browser. */
import { fromBase64 } from '@lockstep/protocol/bytes/base64';
import { type TreeHead, verifyConsistency, verifyInclusion } from '@lockstep/protocol/merkle/proof';

/** Hashes in base64, so that they can be put into a page or given to another program. */
export interface WrittenProofs {
  readonly size: number;
  readonly root: string;
  readonly inclusion: readonly { readonly index: number; readonly leaf: string; readonly proof: readonly string[] }[];
  readonly consistency: readonly { readonly from: number; readonly root: string; readonly proof: readonly string[] }[];
}

/** Microseconds for one proof, hashes decoded before. */
export interface ProofTimes {
  readonly inclusion: number;
  readonly consistency: number;
}

/** null when one does not hold, or a wrong one does. */
export function timeProofs(written: WrittenProofs): ProofTimes | null {
  const tree: TreeHead = { size: written.size, root: bytesOf(written.root) };
  const inclusion = written.inclusion.map((one) => ({ index: one.index, leaf: bytesOf(one.leaf), proof: one.proof.map(bytesOf) }));
  const consistency = written.consistency.map((one) => ({
    older: { size: one.from, root: bytesOf(one.root) },
    proof: one.proof.map(bytesOf),
  }));
  if (inclusion.some((one) => verifyInclusion(tree.root, one.index, tree, one.proof))) return null;
  if (consistency.some((one) => verifyConsistency({ ...one.older, root: tree.root }, tree, one.proof))) return null;
  const times = [
    timed(inclusion, (one) => verifyInclusion(one.leaf, one.index, tree, one.proof)),
    timed(consistency, (one) => verifyConsistency(one.older, tree, one.proof)),
  ];
  const [ofInclusion = null, ofConsistency = null] = times;
  return ofInclusion === null || ofConsistency === null ? null : { inclusion: ofInclusion, consistency: ofConsistency };
}

function timed<T>(all: readonly T[], holds: (one: T) => boolean): number | null {
  const start = performance.now();
  let good = 0;
  for (const one of all) if (holds(one)) good++;
  const microseconds = (performance.now() - start) * 1000;
  return good === all.length ? microseconds / all.length : null;
}

function bytesOf(text: string): Uint8Array {
  return fromBase64(text) ?? new Uint8Array(0);
}
