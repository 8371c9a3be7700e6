/** What a policy may not say although each field is well-formed. Each is a way in which fewer could decide than it seems. */
import { toHex } from '../bytes/hex.ts';
import { independentDomains } from './domain.ts';
import { type AnyKey, rawEd25519 } from '../key/any-key.ts';
import { mayUse } from '../key/key-use.ts';
import type { Policy } from './policy.ts';
import { independentWitnesses, witnessRule } from './witnessing.ts';
import { quorumIsMet } from '../checkpoint/witness-policy.ts';

/** null when it is consistent. */
export function policyProblem(policy: Policy): string | null {
  return repeatedKey(policy) ?? repeatedName(policy) ?? wrongKeyType(policy) ?? impossibleThreshold(policy) ?? impossibleWitnesses(policy);
}

/** Keys are counted by their material, and each role has keys of its own: else one person is two. */
function repeatedKey(policy: Policy): string | null {
  const seen = new Map<string, string>();
  const roles: readonly (readonly [string, readonly { readonly name: string; readonly material: string }[]])[] = [
    ...Object.entries({
      builder: policy.builders,
      checker: policy.checkers,
      coordinator: policy.coordinators,
      arbiter: policy.arbiters?.members ?? [],
    }).map(([role, keys]) => [role, keys.map(({ name, key }) => ({ name, material: key.id }))] as const),
    ['release key', (policy.release?.keys ?? []).map(({ name, key }) => ({ name, material: materialOf(key) }))],
    ['release key for a format', (policy.release?.formats ?? []).map(({ name, key }) => ({ name, material: materialOf(key) }))],
    [
      'log of',
      [...policy.builders, ...policy.checkers].flatMap(({ name, log }) => (log === null ? [] : [{ name, material: toHex(log.publicKey) }])),
    ],
    ['log', policy.logs.map(({ key }) => ({ name: key.name, material: toHex(key.publicKey) }))],
    ['witness', policy.witnesses.flatMap(({ name, keys }) => keys.map((key) => ({ name, material: toHex(key.publicKey) })))],
  ];
  for (const [role, keys] of roles)
    for (const { name, material } of keys) {
      const other = seen.get(material);
      if (other !== undefined) return `${other} and ${role} ${name} have the same key`;
      seen.set(material, `${role} ${name}`);
    }
  return null;
}

/** An Ed25519 key is the same in a log's verifier key and in a PEM. */
export function materialOf(key: AnyKey): string {
  return key.algorithm === 'ed25519' ? toHex(rawEd25519(key)) : key.id;
}

function repeatedName(policy: Policy): string | null {
  for (const [role, names] of Object.entries({
    builders: policy.builders.map((one) => one.name),
    checkers: policy.checkers.map((one) => one.name),
    coordinators: policy.coordinators.map((one) => one.name),
    arbiters: policy.arbiters?.members.map((one) => one.name) ?? [],
    'release keys': [...(policy.release?.keys ?? []), ...(policy.release?.formats ?? [])].map((one) => one.name),
    logs: policy.logs.map((one) => one.key.name),
    'witnesses and groups': [...policy.witnesses.map((one) => one.name), ...policy.witnessGroups.map((one) => one.name)],
  })) {
    const twice = names.find((name, index) => names.indexOf(name) !== index);
    if (twice !== undefined) return `two ${role} are called ${twice}`;
  }
  return null;
}

function wrongKeyType(policy: Policy): string | null {
  const log = [
    ...policy.logs.map((one) => one.key),
    ...[...policy.builders, ...policy.checkers].flatMap((one) => (one.log === null ? [] : [one.log])),
  ].find((key) => key.type !== 'ed25519');
  if (log !== undefined) return `the key of the log ${log.name} is one of a witness`;
  const witness = policy.witnesses.find((one) => one.keys.some((key) => key.type === 'ed25519'));
  if (witness !== undefined) return `the key of the witness ${witness.name} is one of a log`;
  const release = [
    ...(policy.release?.keys ?? []).map((one) => ({ ...one, use: 'release-dsse' as const })),
    ...(policy.release?.formats ?? []),
  ].find((one) => !mayUse(one.use, one.key.algorithm));
  return release === undefined
    ? null
    : `the key of ${release.name} is ${release.key.algorithm}, and ${release.use} cannot be signed with that`;
}

function impossibleThreshold(policy: Policy): string | null {
  for (const [index, rule] of policy.rules.entries()) {
    const able = policy.builders.filter((builder) => builder.tiers.includes(rule.tier));
    const most = independentDomains(able.map((builder) => builder.domain));
    if (rule.quorum > most)
      return `rule ${index + 1} (${rule.packages}) asks for ${rule.quorum} builders from independent domains, and there are ${most}`;
    if (rule.commitments === 'required' && (policy.coordinators.length === 0 || policy.logs.length === 0))
      return `rule ${index + 1} (${rule.packages}) asks for commitments, and there is no coordinator or no log`;
  }
  for (const [role, one] of [
    ['arbiters', policy.arbiters === null ? null : { threshold: policy.arbiters.threshold, keys: policy.arbiters.members }],
    ['release keys', policy.release],
  ] as const)
    if (one !== null && one.threshold > one.keys.length)
      return `the threshold of the ${role} is ${one.threshold}, and there are ${one.keys.length}`;
  return null;
}

/** A witness of the log's own operator counts as none, so a threshold that needs it can never be met. */
function impossibleWitnesses(policy: Policy): string | null {
  const names = new Set(policy.witnesses.map((one) => one.name));
  // As a witness_quorum it would mean that nobody is asked.
  if ([...names, ...policy.witnessGroups.map((one) => one.name)].includes('none')) return 'no witness or group may be called none';
  const used = new Set<string>();
  for (const group of policy.witnessGroups) {
    const unknown = group.members.find((member) => !names.has(member));
    if (unknown !== undefined) return `the group ${group.name} names ${unknown}, which is not defined before it`;
    const again =
      group.members.find((member) => used.has(member)) ?? group.members.find((member, index) => group.members.indexOf(member) !== index);
    if (again !== undefined) return `${again} is a member of a group already`;
    for (const member of group.members) used.add(member);
    if (group.threshold > group.members.length) return `the threshold of the group ${group.name} is larger than the group`;
    names.add(group.name);
  }
  if (policy.witnessQuorum !== 'none' && !names.has(policy.witnessQuorum))
    return `witness_quorum names ${policy.witnessQuorum}, which is not defined`;
  if (policy.witnessQuorum !== 'none' && policy.logs.length === 0) return 'witnesses are asked for, and there is no log';
  for (const log of policy.logs) {
    const able = new Set(independentWitnesses(policy, log).map((one) => one.name));
    if (!quorumIsMet(witnessRule(policy), able))
      return `the witnesses that are independent of the log ${log.key.name} (another operator and another site) are too few for witness_quorum`;
  }
  return null;
}
