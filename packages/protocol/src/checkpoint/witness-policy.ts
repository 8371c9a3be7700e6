/** C2SP tlog-policy: which witnesses have to have seen a checkpoint. A text for people, and the rule itself. */
import { LockstepError } from '../error/lockstep-error.ts';
import { parseVerifierKey, type VerifierKey, formatVerifierKey } from '../note/verifier-key.ts';
import { sameHash } from '../merkle/hash.ts';

export interface WitnessGroup {
  readonly name: string;
  readonly threshold: number;
  /** Names of witnesses or of groups that stand before it. */
  readonly members: readonly string[];
}

export interface WitnessPolicy {
  readonly logs: readonly { readonly key: VerifierKey; readonly url: string | null }[];
  readonly witnesses: readonly { readonly name: string; readonly key: VerifierKey; readonly url: string | null }[];
  readonly groups: readonly WitnessGroup[];
  /** The name of a witness or a group, or "none". */
  readonly quorum: string;
}

/** "It is strongly recommended that an implementation supports at least up to 32" of each. */
const MAX_OF_EACH = 100;
const MAX_POLICY_BYTES = 1 << 20;

/** @throws LockstepError WITNESS_POLICY_INVALID with the line */
export function parseWitnessPolicy(text: string, file: string): WitnessPolicy {
  const fail = (line: number, why: string): never => {
    throw new LockstepError('WITNESS_POLICY_INVALID', why, 'The form is that of c2sp.org/tlog-policy; spec/log.md has an example.', {
      at: { file, line, column: 1 },
    });
  };
  if (text.length > MAX_POLICY_BYTES) fail(1, 'the policy is larger than 1 MiB');
  if (/[\u0000-\u0008\u000b-\u001f\u007f]/.test(text) || !text.isWellFormed()) fail(1, 'there is a control character in it');
  if (text !== '' && !text.endsWith('\n')) fail(text.split('\n').length, 'the last line does not end with a newline');
  const logs: { key: VerifierKey; url: string | null }[] = [];
  const witnesses: { name: string; key: VerifierKey; url: string | null }[] = [];
  const groups: WitnessGroup[] = [];
  const used = new Set<string>();
  let quorum: string | null = null;
  const keyAt = (line: number, text_: string): VerifierKey => {
    try {
      return parseVerifierKey(text_);
    } catch (error) {
      return fail(line, error instanceof Error ? error.message : String(error));
    }
  };
  const isDefined = (name: string): boolean => witnesses.some((one) => one.name === name) || groups.some((one) => one.name === name);
  for (const [index, raw] of text.split('\n').entries()) {
    const line = index + 1;
    const words = raw.split(/[ \t]+/).filter((word) => word !== '');
    const [keyword, ...args] = words;
    if (keyword === undefined || keyword.startsWith('#')) continue;
    if (keyword === 'log') {
      if (args.length < 1 || args.length > 2) fail(line, 'a log is "log VKEY [URL]"');
      const key = keyAt(line, args[0] ?? '');
      if (key.type !== 'ed25519') fail(line, 'the key of a log has signature type 0x01');
      if (logs.some((one) => sameHash(one.key.publicKey, key.publicKey))) fail(line, 'this key of a log is there already');
      logs.push({ key, url: args[1] ?? null });
    } else if (keyword === 'witness') {
      const [name = '', vkey = '', url] = args;
      if (args.length < 2 || args.length > 3) fail(line, 'a witness is "witness NAME VKEY [URL]"');
      const key = keyAt(line, vkey);
      if (key.type === 'ed25519') fail(line, 'the key of a witness has signature type 0x04 or 0x06');
      if (name === 'none' || isDefined(name)) fail(line, `the name ${name} is taken`);
      if (witnesses.some((one) => sameHash(one.key.publicKey, key.publicKey))) fail(line, 'this key of a witness is there already');
      witnesses.push({ name, key, url: url ?? null });
    } else if (keyword === 'group') {
      const [name = '', count = '', ...members] = args;
      if (members.length === 0) fail(line, 'a group is "group NAME all|any|K MEMBER…"');
      if (name === 'none' || isDefined(name)) fail(line, `the name ${name} is taken`);
      const threshold = count === 'any' ? 1 : count === 'all' ? members.length : /^[1-9][0-9]{0,5}$/.test(count) ? Number(count) : 0;
      if (threshold < 1 || threshold > members.length) fail(line, 'the threshold of a group is 1 to the number of its members');
      for (const member of members) {
        if (!isDefined(member)) fail(line, `${member} is not defined before this line`);
        // A witness that could count twice would be two witnesses.
        if (used.has(member)) fail(line, `${member} is a member already`);
        used.add(member);
      }
      groups.push({ name, threshold, members });
    } else if (keyword === 'quorum') {
      if (args.length !== 1) fail(line, 'the quorum is "quorum NAME" or "quorum none"');
      if (quorum !== null) fail(line, 'there is a quorum already');
      const name = args[0] ?? '';
      if (name !== 'none' && !isDefined(name)) fail(line, `${name} is not defined before this line`);
      quorum = name;
    } else fail(line, `${JSON.stringify(keyword.slice(0, 40))} is none of log, witness, group, quorum`);
    if (Math.max(logs.length, witnesses.length, groups.length) > MAX_OF_EACH) fail(line, `there are more than ${MAX_OF_EACH} of one kind`);
  }
  if (quorum === null) return fail(1, 'there is no quorum line');
  return { logs, witnesses, groups, quorum };
}

export function formatWitnessPolicy(policy: WitnessPolicy): string {
  const url = (one: { readonly url: string | null }): string => (one.url === null ? '' : ` ${one.url}`);
  return [
    ...policy.logs.map((one) => `log ${formatVerifierKey(one.key)}${url(one)}`),
    ...policy.witnesses.map((one) => `witness ${one.name} ${formatVerifierKey(one.key)}${url(one)}`),
    ...policy.groups.map((one) => `group ${one.name} ${one.threshold} ${one.members.join(' ')}`),
    `quorum ${policy.quorum}`,
    '',
  ].join('\n');
}

/** Whether witnesses with these names are enough. */
export function quorumIsMet(policy: Pick<WitnessPolicy, 'groups' | 'quorum'>, seen: ReadonlySet<string>): boolean {
  if (policy.quorum === 'none') return true;
  const groups = new Map(policy.groups.map((group) => [group.name, group]));
  // Groups name only what stands before them, so this ends.
  const met = (name: string): boolean => {
    const group = groups.get(name);
    return group === undefined ? seen.has(name) : group.members.filter(met).length >= group.threshold;
  };
  return met(policy.quorum);
}
