/**
 * `lockstep log verify`: a whole log from its files; a bundle; or two saved checkpoints, which show a split view if there
 * is one. Exit code 6 when something does not hold.
 */
import { existsSync, statSync } from 'node:fs';
import { parseBundle } from '@lockstep/protocol/bundle/bundle';
import { openBundle } from '@lockstep/protocol/bundle/open-bundle';
import { openLogCheckpoint } from '@lockstep/protocol/checkpoint/open';
import { parseWitnessPolicy, quorumIsMet, type WitnessPolicy } from '@lockstep/protocol/checkpoint/witness-policy';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { EMPTY_TREE } from '@lockstep/protocol/merkle/growing-tree';
import { sameHash } from '@lockstep/protocol/merkle/hash';
import type { VerifierKey } from '@lockstep/protocol/note/verifier-key';
import type { SignedBy } from '@lockstep/protocol/checkpoint/open';
import { logSource } from '@lockstep/log/source/log-source';
import { replay } from '@lockstep/log/source/replay';
import { requireConsistent } from '@lockstep/log/source/tree-reader';
import { viewLog } from '@lockstep/log/watch/log-view';
import { describeEntry } from '@lockstep/log/watch/monitor';
import { logKey } from '../../farm-log.ts';
import { readNamedFile } from '../../read-file.ts';
import { type CommonOptions, runVerb, type Session } from '../../session.ts';

interface Options extends CommonOptions {
  readonly key?: string;
  readonly witnesses?: string;
  readonly log?: string;
}

export function logVerify(what: readonly string[], options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ print }) => {
    const policy =
      options.witnesses === undefined ? null : parseWitnessPolicy(readNamedFile(options.witnesses).toString('utf8'), options.witnesses);
    const [first = '', second] = what;
    const key = logKey(first, options.key);
    if (second !== undefined) return compareCheckpoints(first, second, key, options.log, print);
    if (existsSync(first) && statSync(first).isFile()) return verifyBundle(first, key, policy, print);
    return verifyLog(first, key, policy, print);
  });
}

async function verifyLog(where: string, key: VerifierKey, policy: WitnessPolicy | null, print: Session['print']): Promise<number> {
  const source = logSource(where);
  const view = await viewLog(source, key, policy?.witnesses.map((one) => one.key) ?? []);
  const seenBy = requireWitnessed(policy, view.signedBy);
  const opaque: { index: number; why: string }[] = [];
  const entries: { index: number; bytes: Uint8Array }[] = [];
  await replay(source, EMPTY_TREE, view.checkpoint, ({ index, bytes }) => void entries.push({ index, bytes }));
  for (const entry of entries) {
    const described = await describeEntry(source, entry);
    if (described.opaque !== null) opaque.push({ index: entry.index, why: described.opaque });
  }
  const { size } = view.checkpoint;
  print(
    [
      `${source.name}: ${size} entries, every tile and entry hashed again; ${seenBy}`,
      ...opaque.map((one) => `opaque: ${one.index}: ${one.why}`),
    ].join('\n'),
    { schema: 'lockstep-log-verify/v1', ok: true, origin: view.checkpoint.origin, size, opaque },
  );
  return 0;
}

function verifyBundle(file: string, key: VerifierKey, policy: WitnessPolicy | null, print: Session['print']): number {
  const opened = openBundle(parseBundle(readNamedFile(file)), [key], policy?.witnesses.map((one) => one.key) ?? []);
  const seenBy = requireWitnessed(policy, opened.opened.signedBy);
  const { size } = opened.opened.checkpoint;
  print(
    `entry ${opened.index} of ${size} in ${key.name}; ${seenBy}\nsigned by key ${opened.signer.id}: whether that key counts is for a policy to say`,
    {
      schema: 'lockstep-log-verify/v1',
      ok: true,
      origin: key.name,
      index: opened.index,
      size,
      signer: opened.signer.id,
      payloadType: opened.payloadType,
    },
  );
  return 0;
}

function requireWitnessed(policy: WitnessPolicy | null, signedBy: readonly SignedBy[]): string {
  if (policy === null) return 'witnesses were not asked for';
  const names = policy.witnesses.filter((one) => signedBy.some(({ key }) => key === one.key)).map((one) => one.name);
  if (!quorumIsMet(policy, new Set(names)))
    throw new LockstepError(
      'WITNESSES_MISSING',
      `Too few witnesses have cosigned: ${names.join(', ') || 'none'}`,
      'Do not rely on this checkpoint: others may be shown another.',
    );
  return `cosigned by ${names.join(', ') || 'nobody, as the policy allows'}`;
}

/** Two of one size with different roots prove a split view by themselves; else the log has to prove that one continues the other. */
async function compareCheckpoints(
  a: string,
  b: string,
  key: VerifierKey,
  where: string | undefined,
  print: Session['print'],
): Promise<number> {
  const [one, two] = [a, b].map((file) => openLogCheckpoint(readNamedFile(file), key).checkpoint);
  if (one === undefined || two === undefined) throw new TypeError('there are two');
  const [older, newer] = one.size <= two.size ? [one, two] : [two, one];
  if (older.size === newer.size && !sameHash(older.root, newer.root))
    throw new LockstepError(
      'LOG_INCONSISTENT',
      `A split view: ${key.name} has signed two different trees of size ${older.size}`,
      'Keep both files: its signatures prove it. Tell everybody who relies on this log.',
    );
  if (older.size !== newer.size) {
    if (where === undefined)
      throw new LockstepError(
        'USAGE',
        'The checkpoints have different sizes',
        'Give --log LOG, so that it can prove that one continues the other.',
      );
    await requireConsistent(logSource(where), older, newer);
  }
  print(`consistent: ${older.size} → ${newer.size}`, { schema: 'lockstep-log-verify/v1', ok: true, from: older.size, to: newer.size });
  return 0;
}
