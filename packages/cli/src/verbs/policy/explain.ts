/** `lockstep policy check` and `explain`: whether a policy is consistent, and what it says in plain words. */
import { statSync } from 'node:fs';
import { independentDomains } from '@lockstep/protocol/policy/domain';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parsePolicy } from '@lockstep/protocol/policy/parse-policy';
import { type Policy, requireCurrentPolicy } from '@lockstep/protocol/policy/policy';
import { trustedRootOf } from '@lockstep/protocol/bundle/trusted-root';
import type { Context } from '@lockstep/builder/context';
import { readTrustedPolicy } from '../../trust/trusted-policy.ts';
import { readNamedFile } from '../../read-file.ts';
import { type CommonOptions, runVerb } from '../../session.ts';

export interface PolicyOptions extends CommonOptions {
  readonly root?: string;
}

/**
 * A draft file, or with --root the signed policy of a folder.
 * @param whenStale `warn` for those who only look at what was: history does not expire
 */
export function policyFrom(context: Context, where: string, root: string | undefined, whenStale: 'refuse' | 'warn' = 'refuse'): Policy {
  if (root !== undefined) {
    const { policy, currentUntil } = readTrustedPolicy(root, where, context.store.cells, context.now());
    if (currentUntil <= context.now()) {
      const problem = `${where}: what is current was only known until ${new Date(currentUntil * 1000).toISOString()}`;
      if (whenStale === 'refuse')
        throw new LockstepError(
          'POLICY_UNTRUSTED',
          problem,
          'Get the newest metadata; who signs it renews it with "lockstep policy sign".',
        );
      context.progress.warn(`${problem}; there may be a newer policy`);
    }
    return policy;
  }
  const isFolder = statSync(where, { throwIfNoEntry: false })?.isDirectory() === true;
  const file = isFolder ? `${where}/policy.json` : where;
  const policy = parsePolicy(readNamedFile(file), file);
  requireCurrentPolicy(policy, context.now(), 0);
  return policy;
}

export function policyCheck(where: string, options: PolicyOptions): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ context, print }) => {
    const policy = policyFrom(context, where, options.root);
    const warnings = warningsOf(policy);
    const signed =
      options.root === undefined ? 'consistent; not checked for signatures (--root ROOT.json does)' : 'signed, current and consistent';
    print([`${policy.name}, version ${policy.version}: ${signed}`, ...warnings.map((one) => `warning: ${one}`)].join('\n'), {
      schema: 'lockstep-policy-check/v1',
      name: policy.name,
      version: policy.version,
      sha256: policy.sha256,
      signed: options.root !== undefined,
      warnings,
    });
    return 0;
  });
}

export function policyExplain(where: string, options: PolicyOptions): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ context, print }) => {
    const policy = policyFrom(context, where, options.root);
    const lines = explain(policy);
    print(lines.join('\n'), { schema: 'lockstep-policy-explain/v1', name: policy.name, version: policy.version, lines });
    return 0;
  });
}

/** For verifiers that this project did not write. */
export function policyTrustedRoot(where: string, options: PolicyOptions): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ context, print }) => {
    const policy = policyFrom(context, where, options.root);
    if (policy.logs.length === 0)
      throw new LockstepError('POLICY_INVALID', 'The policy names no log', 'A Sigstore trusted root is made of the keys of logs.');
    const root = trustedRootOf(
      policy.logs.map((one) => one.key),
      '2020-01-01T00:00:00Z',
    );
    print(JSON.stringify(root, null, 2), { schema: 'lockstep-trusted-root/v1', trustedRoot: root });
    return 0;
  });
}

function warningsOf(policy: Policy): string[] {
  const warnings: string[] = [];
  if (policy.witnessQuorum === 'none') warnings.push('no witnesses: a log could show different people different things');
  if (policy.arbiters === null && policy.rules.some((rule) => rule.quorum > 1))
    warnings.push('no arbiters: a disagreement holds a definition for ever');
  if (policy.release === null) warnings.push('no release keys: nothing can be published under this policy');
  if (policy.builders.some((one) => one.domain.simulated)) warnings.push('simulated failure domains: every verdict will say so');
  for (const [index, rule] of policy.rules.entries())
    if (rule.sources.includes('*')) warnings.push(`rule ${index + 1} (${rule.packages}) trusts every source`);
  return warnings;
}

function explain(policy: Policy): string[] {
  const names = (list: readonly { readonly name: string }[]): string => list.map((one) => one.name).join(', ') || 'nobody';
  return [
    `${policy.name}, version ${policy.version}, until ${policy.expires}`,
    `Builders: ${policy.builders.map((one) => `${one.name} (${one.domain.operator}, ${one.domain.site}, ${one.domain.lineage}${one.domain.simulated ? ', simulated' : ''})`).join('; ')}`,
    `  at most ${independentDomains(policy.builders.map((one) => one.domain))} of them are independent of each other`,
    ...policy.rules.map(
      (rule, index) =>
        `Rule ${index + 1}: ${rule.packages === '*' ? 'every package' : rule.packages} in the tier ${rule.tier} needs ${rule.quorum} of ${policy.builders.filter((one) => one.tiers.includes(rule.tier)).length} builders, from independent domains, who agree on every output` +
        `${rule.commitments === 'required' ? ' and committed before any of them revealed' : ''}` +
        `${rule.variations.length === 0 ? '' : `; they have to differ in ${rule.variations.join(', ')}`}` +
        `${rule.checks.length === 0 ? '' : `; checks: ${rule.checks.join(', ')}`}; sources: ${rule.sources.join(', ')}`,
    ),
    `Coordinators (open and close rounds, sign outcomes): ${names(policy.coordinators)}`,
    policy.arbiters === null
      ? 'Arbiters: none'
      : `Arbiters: ${policy.arbiters.threshold} of ${names(policy.arbiters.members)} resolve a disagreement, with a reason`,
    `Checkers: ${names(policy.checkers)}`,
    policy.release === null ? 'Release keys: none' : `Release keys: ${policy.release.threshold} of ${names(policy.release.keys)}`,
    `Logs: ${policy.logs.map((one) => `${one.key.name} (${one.operator}, ${one.site})`).join('; ') || 'none'}`,
    `Witnesses: ${policy.witnesses.map((one) => `${one.name} (${one.operator}, ${one.site})`).join('; ') || 'none'}; needed: ${policy.witnessQuorum}`,
    ...policy.witnessGroups.map((group) => `  ${group.name}: ${group.threshold} of ${group.members.join(', ')}`),
  ];
}
