/** `lockstep farm init`: a new farm in a folder, without a question. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { defaultFarmFolder } from '../../farm/connect.ts';
import { makeFarm } from '../../farm/make-farm.ts';
import { addressOf } from '../../farm/open-farm.ts';
import { type CommonOptions, runVerb } from '../../session.ts';

interface Options extends CommonOptions {
  readonly home?: boolean;
  readonly name: string;
  readonly builders: string;
  readonly witness: boolean;
  readonly signer: boolean;
  readonly listen: string;
}

export function farmInit(folder: string | undefined, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    const where = folder ?? defaultFarmFolder();
    const builders = options.home === true ? 1 : Number(options.builders);
    if (!Number.isInteger(builders) || builders < 0 || builders > 16)
      throw new LockstepError(
        'USAGE',
        `--builders ${options.builders} is no number from 0 to 16`,
        'Builders elsewhere join later: lockstep farm join-token.',
      );
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,60}$/.test(options.name))
      throw new LockstepError('USAGE', `--name ${JSON.stringify(options.name)} is no name`, 'Use letters, digits and . _ -');
    addressOf(options.listen);
    await makeFarm(
      where,
      { name: options.name, builders, witness: options.home !== true && options.witness, signer: options.signer, listen: options.listen },
      context.now(),
    );
    print(
      [
        `${where}: a farm with ${builders} builder${builders === 1 ? '' : 's'} of its own${options.home === true ? ', no witness, no commitments: every verdict says so' : ''}`,
        `start it: lockstep farm run ${where}`,
        options.signer
          ? `its signing node is ${where}/signer: better on another machine, with a passphrase or a hardware module (docs/keys.md)`
          : 'no signing node: what is agreed on is UNSIGNED, and no release, until the policy lists a release key',
        `verifiers pin ${where}/policy/repository/metadata/1.root.json; keep ${where}/policy/keys/root-1.pem and targets-1.pem where no network is`,
      ].join('\n'),
      { schema: 'lockstep-farm-init/v1', folder: where, builders },
    );
    return 0;
  });
}
