/** `lockstep builder keys`: the two keys of this builder, made where there are none. */
import { openAttestationKey } from '@lockstep/builder/attest/key';
import { transportKeyFile } from '@lockstep/builder/node/join';
import { publicKeyFromSpki, publicKeyToPem } from '@lockstep/protocol/key/p256';
import { type CommonOptions, runVerb } from '../../session.ts';

export function builderKeys(options: CommonOptions): Promise<void> {
  return runVerb({ ...options, quiet: true }, ({ context, print }) => {
    const { keyFile } = context.settings;
    const attestation = openAttestationKey(keyFile);
    const transport = openAttestationKey(transportKeyFile(keyFile));
    const pem = publicKeyToPem(publicKeyFromSpki(new Uint8Array(attestation.spki)));
    print(
      [
        `transport sha256:${transport.id}   for: lockstep farm join-token NAME --key …`,
        `attestation sha256:${attestation.id}   for the policy:`,
        pem.trimEnd(),
      ].join('\n'),
      {
        schema: 'lockstep-builder-keys/v1',
        transport: transport.id,
        attestation: attestation.id,
        attestationPem: pem,
      },
    );
    return 0;
  });
}
