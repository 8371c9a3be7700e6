/** `lockstep key`: the public half of the attestation key. */
import { attestationKeyPath, openAttestationKey } from '@lockstep/builder/attest/key';
import { publicKeyFromSpki, publicKeyToPem } from '@lockstep/protocol/key/p256';
import { type CommonOptions, runVerb } from '../session.ts';

export function keyVerb(options: CommonOptions): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ context, print }) => {
    const publicKey = publicKeyFromSpki(openAttestationKey(context.store).spki);
    const pem = publicKeyToPem(publicKey);
    print(pem.trimEnd(), { schema: 'lockstep-key/v1', keyid: publicKey.id, pem, private: attestationKeyPath(context.store) });
    return 0;
  });
}
