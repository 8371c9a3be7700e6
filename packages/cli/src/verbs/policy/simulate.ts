/** `lockstep policy simulate`: what would be decided if these builders agreed, those differed, and the rest said nothing. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { independentDomains } from '@lockstep/protocol/policy/domain';
import { type PolicyBuilder, ruleFor } from '@lockstep/protocol/policy/policy';
import { EXIT } from '../../exit-code.ts';
import { runVerb } from '../../session.ts';
import { policyFrom, type PolicyOptions } from './explain.ts';

interface Options extends PolicyOptions {
  readonly package: string;
  readonly agree?: string;
  readonly differ?: string;
}

export function policySimulate(where: string, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ context, print }) => {
    const policy = policyFrom(context, where, options.root);
    const found = ruleFor(policy, options.package, 'container');
    if (found === null) {
      print(`refused: no rule is about ${options.package}`, { schema: 'lockstep-policy-simulate/v1', result: 'refused', rule: null });
      return EXIT.refusedByPolicy;
    }
    const named = (list: string | undefined): PolicyBuilder[] =>
      (list ?? '')
        .split(',')
        .filter((name) => name !== '')
        .map((name) => {
          const builder = policy.builders.find((one) => one.name === name.trim());
          if (builder === undefined)
            throw new LockstepError(
              'USAGE',
              `The policy has no builder ${name}`,
              `It has ${policy.builders.map((one) => one.name).join(', ')}.`,
            );
          return builder;
        });
    const [agree, differ] = [named(options.agree), named(options.differ)];
    const independent = independentDomains(agree.map((one) => one.domain));
    const { rule, index } = found;
    const result = differ.length > 0 && agree.length > 0 ? 'disputed' : independent >= rule.quorum ? 'agreed' : 'pending';
    const why = `rule ${index + 1}: ${independent} independent of the ${rule.quorum} needed${differ.length > 0 ? `; ${differ.map((one) => one.name).join(', ')} differ, which arbiters have to resolve` : ''}`;
    print(`${result}: ${why}`, { schema: 'lockstep-policy-simulate/v1', result, rule: index + 1, independent, needed: rule.quorum });
    return result === 'agreed' ? EXIT.ok : EXIT.refusedByPolicy;
  });
}
