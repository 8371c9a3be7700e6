/** `lockstep policy sign`: the policy as a target under the offline targets role, and the TUF metadata around it. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { parsePolicy } from '@lockstep/protocol/policy/parse-policy';
import { type Policy, requireCurrentPolicy } from '@lockstep/protocol/policy/policy';
import { signPolicy } from '../../trust/tuf-repository.ts';
import { readNamedFile } from '../../read-file.ts';
import { type CommonOptions, runVerb } from '../../session.ts';

interface Options extends CommonOptions {
  readonly rootThreshold: string;
}

export function policySign(folder: string, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ context, print }) => {
    const threshold = Number(options.rootThreshold);
    if (!Number.isInteger(threshold) || threshold < 1 || threshold > 20)
      throw new LockstepError(
        'USAGE',
        `--root-threshold ${options.rootThreshold} is no number from 1 to 20`,
        'It is set once, when the first root is signed.',
      );
    const file = `${folder}/policy.json`;
    const bytes = readNamedFile(file);
    const policy = parsePolicy(bytes, file);
    const now = context.now();
    requireCurrentPolicy(policy, now, newestSigned(folder, policy, file));
    const written = signPolicy(folder, bytes, now, threshold);
    print(
      [
        `${policy.name}, version ${policy.version}, signed:`,
        ...written,
        `publish ${folder}/repository; verifiers pin ${folder}/repository/metadata/1.root.json`,
      ].join('\n'),
      { schema: 'lockstep-policy-sign/v1', version: policy.version, sha256: policy.sha256, written },
    );
    return 0;
  });
}

/** A changed policy under an old version would be two policies with one name. */
function newestSigned(folder: string, policy: Policy, file: string): number {
  const targets = `${folder}/repository/targets`;
  if (!existsSync(targets)) return 0;
  const signed = readdirSync(targets)
    .filter((name) => name.endsWith('.policy.json'))
    .map((name) => parsePolicy(readFileSync(`${targets}/${name}`), name));
  const same = signed.find((one) => one.version === policy.version && one.sha256 !== policy.sha256);
  if (same !== undefined)
    throw new LockstepError(
      'POLICY_INVALID',
      `Version ${policy.version} was signed before with another content`,
      `Raise "version" in ${file} to ${Math.max(...signed.map((one) => one.version)) + 1}.`,
    );
  return Math.max(0, ...signed.map((one) => one.version));
}
