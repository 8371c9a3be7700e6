/** `lockstep key`: the public half of the attestation key; `key make`: a key for a coordinator or an arbiter. */
import { existsSync } from 'node:fs';
import { openAttestationKey } from '@lockstep/builder/attest/key';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { publicKeyFromSpki, publicKeyToPem } from '@lockstep/protocol/key/p256';
import { type CommonOptions, runVerb, type Session } from '../session.ts';

export function keyVerb(options: CommonOptions): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ context, print }) => printKey(context.settings.keyFile, print));
}

export function keyMakeVerb(file: string, options: CommonOptions): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ print }) => {
    if (existsSync(file))
      throw new LockstepError('KEY_INVALID', `${file} is there already`, 'Choose another name; a key is never replaced.');
    return printKey(file, print);
  });
}

function printKey(file: string, print: Session['print']): number {
  const publicKey = publicKeyFromSpki(openAttestationKey(file).spki);
  const pem = publicKeyToPem(publicKey);
  print(pem.trimEnd(), { schema: 'lockstep-key/v1', keyid: publicKey.id, pem, private: file });
  return 0;
}
