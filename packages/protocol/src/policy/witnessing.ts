/** Whose cosignatures count for a log, and whether they are enough. */
import type { SignedBy } from '../checkpoint/open.ts';
import { quorumIsMet, type WitnessPolicy } from '../checkpoint/witness-policy.ts';
import type { VerifierKey } from '../note/verifier-key.ts';
import type { Policy, PolicyLog } from './policy.ts';

/** A witness that the log's operator runs, or that stands where the log stands, goes back together with it. */
export function independentWitnesses(policy: Policy, log: PolicyLog): Policy['witnesses'] {
  return policy.witnesses.filter((one) => one.operator !== log.operator && one.site !== log.site);
}

export function witnessRule(policy: Policy): Pick<WitnessPolicy, 'groups' | 'quorum'> {
  return { groups: policy.witnessGroups, quorum: policy.witnessQuorum };
}

export function witnessKeys(policy: Policy): VerifierKey[] {
  return policy.witnesses.flatMap((one) => one.keys);
}

export interface Witnessing {
  readonly met: boolean;
  readonly names: readonly string[];
  /** Seconds since 1970: when enough of them had seen it, whatever the others say; null when nobody has. */
  readonly time: number | null;
}

export function witnessing(policy: Policy, log: PolicyLog, signedBy: readonly SignedBy[]): Witnessing {
  const counted = independentWitnesses(policy, log).flatMap((one) => {
    const times = signedBy.flatMap(({ key, time }) => (time !== null && one.keys.includes(key) ? [time] : []));
    return times.length === 0 ? [] : [{ name: one.name, time: Math.max(...times) }];
  });
  return {
    met: quorumIsMet(witnessRule(policy), new Set(counted.map((one) => one.name))),
    names: counted.map((one) => one.name),
    time: timeReached(policy, counted),
  };
}

/** The latest time at which those who give it or a later one are enough: one that lies about the time cannot age what others saw. */
function timeReached(policy: Policy, counted: readonly { readonly name: string; readonly time: number }[]): number | null {
  const falling = [...new Set(counted.map((one) => one.time))].sort((a, b) => b - a);
  const reached = falling.find((time) =>
    quorumIsMet(witnessRule(policy), new Set(counted.filter((one) => one.time >= time).map((one) => one.name))),
  );
  return reached ?? falling.at(-1) ?? null;
}
