/** `lockstep key export-minisign`: a key as minisign itself keeps it, for whoever goes on without Lockstep. */
import { rawEd25519 } from '@lockstep/protocol/key/any-key';
import { minisignKeyId } from '@lockstep/protocol/signature/minisign-key';
import { noCoreDumps } from '@lockstep/signer/custody/core-dumps';
import { readFileKeyHeader } from '@lockstep/signer/custody/file-key';
import { exportMinisignKey } from '@lockstep/signer/custody/minisign-exchange';
import { type CommonOptions, runVerb } from '../../session.ts';
import { askOnce, type SecretOptions } from '../../signer/secret-options.ts';

export function keyExportMinisign(file: string, options: CommonOptions & SecretOptions & { readonly out: string }): Promise<void> {
  return runVerb({ ...options, quiet: true }, async ({ print }) => {
    noCoreDumps();
    const header = readFileKeyHeader(file);
    // The same passphrase opens the one and encrypts the other: read once, since a descriptor can be.
    const ask = askOnce(`Passphrase of ${header.name}`, options);
    const passphrase = header.protection === 'none' ? null : await ask();
    await exportMinisignKey(file, ask, {
      path: options.out,
      passphrase,
      ...(header.minisignKeyId === null && header.public.algorithm === 'ed25519'
        ? { keyId: minisignKeyId(rawEd25519(header.public)) }
        : {}),
    });
    passphrase?.fill(0);
    print(`${options.out}: for minisign -S -s ${options.out}${passphrase === null ? ' (NOT ENCRYPTED: with -W)' : ''}`, {
      schema: 'lockstep-key-export-minisign/v1',
      path: options.out,
    });
    return 0;
  });
}
