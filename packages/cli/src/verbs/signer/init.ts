/** `lockstep signer init`: a signing node: its name, the root that it pins, its own key and log. Keys are made into it afterwards. */
import { anyKeyFromPem } from '@lockstep/protocol/key/any-key';
import { readNamedFile } from '../../read-file.ts';
import { type CommonOptions, runVerb } from '../../session.ts';
import { cardOf, initSigner } from '../../signer/home.ts';

interface Options extends CommonOptions {
  readonly name: string;
  readonly root: string;
  readonly line?: readonly string[];
  readonly coordinator?: readonly string[];
}

export function signerInit(folder: string, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    const coordinators = (options.coordinator ?? []).map((file) => readNamedFile(file).toString('utf8'));
    for (const pem of coordinators) anyKeyFromPem(pem);
    const home = await initSigner(
      folder,
      new Uint8Array(readNamedFile(options.root)),
      { name: options.name, lines: options.line ?? ['main'], coordinators },
      new Date(context.now() * 1000),
    );
    const card = cardOf(home);
    print(
      [
        `${folder} is the signing node ${card.name}; it has no key yet: lockstep key new NAME --use release-dsse --signer ${folder}`,
        `give ${folder}/card.json to whoever asks it: its answers are known by that`,
      ].join('\n'),
      { schema: 'lockstep-signer-init/v1', folder, card },
    );
    return 0;
  });
}
