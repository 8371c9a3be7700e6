/** `lockstep policy init`: the keys of the root and a first policy, to be edited and then signed. */
import { existsSync, mkdirSync } from 'node:fs';
import { arch, release } from 'node:os';
import { openAttestationKey } from '@lockstep/builder/attest/key';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { publicKeyFromSpki, publicKeyToPem } from '@lockstep/protocol/key/p256';
import { createDurably } from '@lockstep/store/durable';
import { draftPolicy } from '../../trust/draft-policy.ts';
import { openRoleKeys } from '../../trust/tuf-repository.ts';
import { type CommonOptions, runVerb } from '../../session.ts';

interface Options extends CommonOptions {
  readonly name: string;
  readonly operator: string;
  readonly site: string;
  readonly rootKeys: string;
}

const YEAR = 365 * 86_400;

export function policyInit(folder: string, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ context, print }) => {
    const count = Number(options.rootKeys);
    if (!Number.isInteger(count) || count < 1 || count > 20)
      throw new LockstepError('USAGE', `--root-keys ${options.rootKeys} is no number from 1 to 20`, 'One is enough to begin with.');
    if (existsSync(`${folder}/policy.json`))
      throw new LockstepError('POLICY_INVALID', `${folder} has a policy already`, 'Edit it, and sign it: lockstep policy sign.');
    mkdirSync(`${folder}/keys`, { recursive: true, mode: 0o700 });
    for (const role of ['root', 'targets'] as const) openRoleKeys(folder, role, count, 1);
    for (const role of ['snapshot', 'timestamp'] as const) openRoleKeys(folder, role, 1, 1);
    const pem = (file: string): string => publicKeyToPem(publicKeyFromSpki(new Uint8Array(openAttestationKey(file).spki)));
    const expires = new Date((context.now() + YEAR) * 1000).toISOString().replace(/\.\d+Z$/, 'Z');
    const draft = draftPolicy({
      name: options.name,
      builderKey: pem(context.settings.keyFile),
      coordinatorKey: pem(`${folder}/keys/coordinator.pem`),
      operator: options.operator,
      site: options.site,
      lineage: `linux ${release()} ${arch()}`,
      expires,
    });
    createDurably(`${folder}/policy.json`, `${JSON.stringify(draft, null, 2)}\n`);
    print(
      [
        `${folder}/policy.json: edit it, then "lockstep policy check ${folder}/policy.json" and "lockstep policy sign ${folder}"`,
        `${folder}/keys: root-*.pem and targets-*.pem belong on a machine without a network, and in a safe`,
      ].join('\n'),
      { schema: 'lockstep-policy-init/v1', policy: `${folder}/policy.json`, keys: `${folder}/keys` },
    );
    return 0;
  });
}
