/** Public keys as text (RFC 7468 section 13): one key, nothing around it. */
import { fromBase64, toBase64 } from '../bytes/base64.ts';
import { LockstepError } from '../error/lockstep-error.ts';

/** @returns DER SubjectPublicKeyInfo, unread @throws LockstepError KEY_INVALID */
export function spkiFromPem(pem: string): Uint8Array {
  const match = /^\s*-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*$/.exec(pem);
  const der = match === null ? null : fromBase64((match[1] ?? '').replace(/\s+/g, ''));
  if (der === null)
    throw new LockstepError(
      'KEY_INVALID',
      'The file is not a public key in PEM',
      'It begins with -----BEGIN PUBLIC KEY-----; a private key is not wanted here.',
    );
  return der;
}

export function spkiToPem(spki: Uint8Array): string {
  const lines = toBase64(spki).match(/.{1,64}/g) ?? [];
  return `-----BEGIN PUBLIC KEY-----\n${lines.join('\n')}\n-----END PUBLIC KEY-----\n`;
}
