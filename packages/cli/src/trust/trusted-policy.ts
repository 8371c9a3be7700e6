/** From the pinned root and a folder of TUF metadata to the policy. Remembers what it saw, so that nothing older is taken again. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { integer, oneOf, table } from '@lockstep/protocol/decode/decode';
import { sha256Hex } from '@lockstep/protocol/digest/digest';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parseJson } from '@lockstep/protocol/json/parse';
import { parsePolicy } from '@lockstep/protocol/policy/parse-policy';
import { requireOwnRoleKeys } from '@lockstep/protocol/policy/use-of-key';
import { POLICY_TARGET, requireCurrentPolicy } from '@lockstep/protocol/policy/policy';
import { NOTHING_SEEN, readTarget, type SeenVersions, trustedTargets } from '@lockstep/protocol/tuf/client-workflow';
import type { TrustedPolicy } from '@lockstep/protocol/verdict/verify-release';
import type { Cells } from '@lockstep/store/cells';

const MAX_FILE = 16 << 20;

const decodeSeen = table({
  schema: oneOf(['lockstep-seen/v1'] as const),
  root: integer(0, 1e9),
  timestamp: integer(0, 1e9),
  snapshot: integer(0, 1e9),
  targets: integer(0, 1e9),
  policy: integer(0, 1e9),
});

/**
 * @param rootFile the root that this verifier pins
 * @param folder of a policy's repository: metadata/ and targets/
 * @param now seconds since 1970
 * @throws LockstepError FILE_NOT_FOUND, ROOT_INVALID, POLICY_UNTRUSTED, POLICY_INVALID
 */
export function readTrustedPolicy(rootFile: string, folder: string, cells: Cells, now: number): TrustedPolicy {
  const pinned = readBounded(rootFile);
  if (pinned === null)
    throw new LockstepError(
      'FILE_NOT_FOUND',
      `${rootFile} does not exist`,
      'Give the root.json that you trust, got through a channel that you trust.',
    );
  const base = existsSync(`${folder}/repository/metadata`) ? `${folder}/repository` : folder;
  if (!existsSync(`${base}/metadata`))
    throw new LockstepError(
      'FILE_NOT_FOUND',
      `${folder} is no folder of a signed policy`,
      'It has metadata/ and targets/; "lockstep policy sign" writes it.',
    );
  const cell = `seen-${sha256Hex(pinned)}`;
  const before = cells.get(cell);
  const seen = before === null ? { ...NOTHING_SEEN, policy: 0 } : parseSeen(before);
  const file = (path: string): Uint8Array | null => readBounded(`${base}/${path}`);
  const trusted = trustedTargets(pinned, file, now, seen);
  const bytes = readTarget(trusted, POLICY_TARGET, file);
  const policy = parsePolicy(bytes, POLICY_TARGET);
  requireCurrentPolicy(policy, now, seen.policy);
  requireOwnRoleKeys(policy, trusted.root);
  remember(cells, cell, before, seen, { ...trusted.seen, policy: policy.version });
  return { policy, currentUntil: trusted.currentUntil, root: trusted.root };
}

type Seen = SeenVersions & { readonly policy: number };

function remember(cells: Cells, cell: string, before: string | null, seen: Seen, next: Seen): void {
  const text = JSON.stringify({ schema: 'lockstep-seen/v1', ...next });
  if (JSON.stringify({ schema: 'lockstep-seen/v1', ...seen }) === text || before === text) return;
  // Somebody else who verifies at the same time has seen as much, or sees it next time.
  cells.swap(cell, before, text);
}

function parseSeen(text: string): Seen {
  const decoded = decodeSeen(parseJson(text, 'versions seen'), []);
  if (!decoded.ok)
    throw new LockstepError(
      'STORE_CORRUPT',
      'What was kept of versions seen is damaged',
      'Remove the cell whose name begins with "seen-"; then older metadata would be taken once.',
    );
  const { schema: _schema, ...seen } = decoded.value;
  return seen;
}

function readBounded(path: string): Uint8Array | null {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined || !stat.isFile()) return null;
  if (stat.size > MAX_FILE) throw new LockstepError('ROOT_INVALID', `${path} is larger than 16 MiB`, 'No file of a policy is that large.');
  return readFileSync(path);
}
