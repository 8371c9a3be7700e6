/** How this host joins a farm: its two keys, the farm's authority, and the certificate that it gets. */
import { createHash, X509Certificate } from 'node:crypto';
import { connect } from 'node:tls';
import type { FarmClient } from '@lockstep/api/client';
import { enrolmentWords } from '@lockstep/api/enrolment';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { type AttestationKey, openAttestationKey } from '../attest/key.ts';

/** The key of the connection lies beside the attestation key, and is never used for anything else. */
export function transportKeyFile(keyFile: string): string {
  return `${keyFile.replace(/\.pem$/, '')}.transport.pem`;
}

export interface JoinedAs {
  readonly certificate: string;
  readonly authority: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/** @throws LockstepError ENROLMENT_REFUSED */
export function join(client: FarmClient, keyFile: string, name: string, token: string): Promise<JoinedAs> {
  const transport = openAttestationKey(transportKeyFile(keyFile));
  const attestation = openAttestationKey(keyFile);
  const words = toUtf8(enrolmentWords(name, transport.id, attestation.id));
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
  const proof = (key: AttestationKey): string => base64(key.sign(words));
  return client.call('enrol', {
    body: {
      token,
      name,
      transportKey: base64(transport.spki),
      attestationKey: base64(attestation.spki),
      transportProof: proof(transport),
      attestationProof: proof(attestation),
    },
  });
}

/**
 * The farm's authority as it shows itself, taken only if it has the fingerprint that the operator told.
 * @param fingerprint SHA-256 of the authority's certificate in DER
 * @throws LockstepError FARM_UNREACHABLE, ENROLMENT_REFUSED
 */
export async function fetchAuthority(url: string, fingerprint: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const chain = await new Promise<Buffer[]>((resolve, reject) => {
    // Believed by its fingerprint alone; nothing is sent over this connection.
    const socket = connect(
      { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port === '' ? 443 : port), rejectUnauthorized: false, timeout: 10_000 },
      () => {
        const found: Buffer[] = [];
        for (
          let one = socket.getPeerCertificate(true);
          one?.raw !== undefined && !found.some((raw) => raw.equals(one.raw));
          one = one.issuerCertificate
        )
          found.push(one.raw);
        socket.destroy();
        resolve(found);
      },
    );
    socket.once('timeout', () => socket.destroy(new Error('no answer')));
    socket.once('error', (error) =>
      reject(new LockstepError('FARM_UNREACHABLE', `${url} cannot be reached: ${error.message}`, 'Check the address.')),
    );
  });
  const authority = chain.find((raw) => createHash('sha256').update(raw).digest('hex') === fingerprint);
  if (authority === undefined)
    throw new LockstepError(
      'ENROLMENT_REFUSED',
      `${url} does not show the authority with the fingerprint ${fingerprint}`,
      'Compare it with what "lockstep farm join-token" printed; somebody else may have answered.',
    );
  return new X509Certificate(authority).toString();
}
