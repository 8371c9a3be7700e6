/**
 * Which builders' keys count, and what is expected of a build: the smallest policy that `verify` can take. Signatures,
 * quorum and failure domains come with the log and the quorum.
 */
import { list, oneOf, optional, table, text } from '../decode/decode.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { parseJson } from '../json/parse.ts';
import { type PublicKey, publicKeyFromPem } from '../key/p256.ts';
import { issueError } from '../decode/issue-error.ts';

export interface Policy {
  readonly builders: readonly { readonly name: string; readonly key: PublicKey }[];
  /** Exact source references that are accepted; empty: any. */
  readonly sources: readonly string[];
}

const decode = table({
  schema: oneOf(['lockstep-policy/v0'] as const),
  builders: list(table({ name: text('a name', (value) => value !== '', 100), key: text('a public key in PEM', () => true, 2000) }), 100, 1),
  sources: optional(
    list(
      text('a source reference', () => true, 2048),
      10_000,
    ),
    [],
  ),
});

/** @throws LockstepError POLICY_INVALID, JSON_INVALID, KEY_INVALID */
export function parsePolicy(bytes: Uint8Array, file: string): Policy {
  const decoded = decode(parseJson(bytes, file), []);
  if (!decoded.ok) throw issueError('POLICY_INVALID', decoded.issues, () => ({ file, line: 1, column: 1 }));
  const builders = decoded.value.builders.map(({ name, key }) => ({ name, key: publicKeyFromPem(key) }));
  const ids = new Set(builders.map(({ key }) => key.id));
  if (ids.size !== builders.length)
    throw new LockstepError(
      'POLICY_INVALID',
      `${file} lists one key under two names`,
      'Each builder has a key of its own; remove the repetition.',
    );
  if (new Set(builders.map(({ name }) => name)).size !== builders.length)
    throw new LockstepError('POLICY_INVALID', `${file} gives one name to two keys`, 'Give each builder a name of its own.');
  return { builders, sources: decoded.value.sources };
}
