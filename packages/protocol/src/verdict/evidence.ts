/** Opens the bundles that a verdict or a decision is made of: all of one log that the policy names, each index once. */
import { parseBundle } from '../bundle/bundle.ts';
import { type LoggedDocument, openBundle, openingOnce } from '../bundle/open-bundle.ts';
import { sameHash } from '../merkle/hash.ts';
import type { Policy, PolicyLog } from '../policy/policy.ts';
import { type Witnessing, witnessing, witnessKeys } from '../policy/witnessing.ts';

export interface NamedBundle {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface Evidence {
  readonly log: PolicyLog;
  readonly documents: readonly LoggedDocument[];
  /** For each document who has witnessed the checkpoint that proves it. */
  readonly witnessed: readonly Witnessing[];
}

/** What is wrong, as text, when they prove nothing. Whether enough witnesses have seen them is for the caller to say. */
export function openEvidence(bundles: readonly NamedBundle[], policy: Policy): Evidence | string {
  if (bundles.length === 0) return 'there is no bundle';
  const documents: LoggedDocument[] = [];
  const opener = openingOnce();
  const witnesses = witnessKeys(policy);
  for (const { name, bytes } of bundles) {
    try {
      documents.push(
        openBundle(
          parseBundle(bytes),
          policy.logs.map((one) => one.key),
          witnesses,
          opener,
        ),
      );
    } catch (error) {
      return `${name}: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  const log = policy.logs.find((one) => one.key === documents[0]?.log);
  if (log === undefined || documents.some((one) => one.log !== log.key))
    return 'the bundles are of different logs, so their order is not known';
  const at = new Map<number, string>();
  for (const one of documents) {
    const own = `${one.digest} ${one.signer.id}`;
    const other = at.get(one.index);
    if (other !== undefined && other !== own) return `two entries claim the index ${one.index}`;
    at.set(one.index, own);
  }
  const roots = new Map<number, Uint8Array>();
  for (const { opened } of documents) {
    const { size, root } = opened.checkpoint;
    if (!sameHash(roots.get(size) ?? root, root)) return `a split view: ${log.key.name} has signed two trees of size ${size}`;
    roots.set(size, root);
  }
  return { log, documents, witnessed: documents.map((one) => witnessing(policy, log, one.opened.signedBy)) };
}
