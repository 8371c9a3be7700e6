/** `lockstep key new`: a key for one use, in a file or in a hardware module, of a signing node or by itself. */
import { existsSync } from 'node:fs';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { ALGORITHMS, isKeyUse, KEY_USES } from '@lockstep/protocol/key/key-use';
import { anyKeyToPem } from '@lockstep/protocol/key/any-key';
import { fingerprints } from '@lockstep/protocol/key/fingerprint';
import { noCoreDumps } from '@lockstep/signer/custody/core-dumps';
import { makeFileKey } from '@lockstep/signer/custody/file-key';
import { makePkcs11Key } from '@lockstep/signer/custody/make-pkcs11-key';
import { importMinisignKey } from '@lockstep/signer/custody/minisign-exchange';
import { createDurably } from '@lockstep/store/durable';
import { type CommonOptions, runVerb } from '../../session.ts';
import { NODE_NAME, openSignerHome } from '../../signer/home.ts';
import { askOnce, askPassphrase, newPassphrase, type SecretOptions } from '../../signer/secret-options.ts';

interface Options extends CommonOptions, SecretOptions {
  readonly use: string;
  readonly signer?: string;
  readonly out?: string;
  readonly algorithm?: string;
  readonly pkcs11?: string;
  readonly token?: string;
  readonly label?: string;
  readonly importMinisign?: string;
}

export function keyNew(name: string, options: Options): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ context, print }) => {
    const { use } = options;
    if (!isKeyUse(use)) throw new LockstepError('USAGE', `--use ${use} is none`, `One of ${Object.keys(KEY_USES).join(', ')}.`);
    const algorithm = ALGORITHMS.find((one) => one === options.algorithm);
    if (options.algorithm !== undefined && algorithm === undefined)
      throw new LockstepError('USAGE', `--algorithm ${options.algorithm} is none`, `${KEY_USES[use].join(' or ')} for ${use}.`);
    if (!NODE_NAME.test(name))
      throw new LockstepError('USAGE', `${JSON.stringify(name)} is no name for a key`, 'Use letters, digits, "-", "_" and ".".');
    noCoreDumps();
    const folder = options.signer === undefined ? null : `${openSignerHome(options.signer).folder}/keys`;
    const now = new Date(context.now() * 1000);
    const given = algorithm === undefined ? {} : { algorithm };
    if (options.pkcs11 !== undefined) return await inToken(name, use, given, folder, { ...options, pkcs11: options.pkcs11 }, print);
    const path = options.out ?? (folder === null ? null : `${folder}/${name}.json`);
    if (path === null) throw new LockstepError('USAGE', 'It is not said where the key goes', 'Give --signer FOLDER, or --out FILE.');
    if (existsSync(path))
      throw new LockstepError('KEY_INVALID', `${path} is there already`, 'A key is never replaced: lockstep key rotate.');
    const passphrase = await newPassphrase(`Passphrase of ${name}`, options);
    const header =
      options.importMinisign === undefined
        ? await makeFileKey({ path, name, use, passphrase, now, ...given })
        : await importMinisignKey(options.importMinisign, minisignPassphrase(passphrase, options), {
            path,
            name,
            passphrase,
            now,
          });
    if (header.use !== use) throw new LockstepError('USAGE', `A minisign key is for ${header.use}`, 'Give --use release-minisign.');
    const pem = anyKeyToPem(header.public);
    const { hex, words } = fingerprints(header.public, name);
    print(
      `${name}: ${use}, ${header.public.algorithm}, ${path}${passphrase === null ? ', NOT ENCRYPTED' : ''}\n${pem}id     ${hex}\nwords  ${words}`,
      { schema: 'lockstep-key-new/v1', name, use, algorithm: header.public.algorithm, id: hex, pem, path, encrypted: passphrase !== null },
    );
    return 0;
  });
}

/** One descriptor holds one secret: then it is that of minisign's file and of ours. */
function minisignPassphrase(own: Buffer | null, options: SecretOptions): () => Promise<Buffer> {
  if (own === null || options.passphraseFd === undefined) return askPassphrase('Passphrase of the minisign key', options);
  const copy = Buffer.from(own);
  return () => Promise.resolve(copy);
}

async function inToken(
  name: string,
  use: keyof typeof KEY_USES,
  given: { readonly algorithm?: (typeof ALGORITHMS)[number] },
  folder: string | null,
  options: Options & { readonly pkcs11: string },
  print: (text: string, data: Record<string, unknown>) => void,
): Promise<number> {
  const { token, label = name } = options;
  if (folder === null || token === undefined)
    throw new LockstepError(
      'USAGE',
      'A key in a hardware module needs a node and a token',
      'Give --signer FOLDER --pkcs11 MODULE --token LABEL.',
    );
  const key = await makePkcs11Key({
    module: options.pkcs11,
    tokenLabel: token,
    keyLabel: label,
    name,
    use,
    // Used to make it and to open it: a descriptor can be read once only.
    pin: askOnce(`PIN of ${token}`, options),
    ...given,
  });
  const path = `${folder}/${name}.pkcs11.json`;
  createDurably(
    path,
    `${JSON.stringify({ schema: 'lockstep-pkcs11/v1', name, use, module: options.pkcs11, token, label }, null, 2)}\n`,
    0o600,
  );
  const pem = anyKeyToPem(key.public);
  const { hex, words } = fingerprints(key.public, name);
  await key.close();
  print(`${name}: ${use}, ${key.public.algorithm}, in ${token}\n${pem}id     ${hex}\nwords  ${words}`, {
    schema: 'lockstep-key-new/v1',
    name,
    use,
    algorithm: key.public.algorithm,
    id: hex,
    pem,
    path,
    encrypted: true,
  });
  return 0;
}
