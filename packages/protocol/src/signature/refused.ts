/** How the parsers and formatters of this folder refuse: with the format's name and what is wrong, never with an untyped exception. */
import { LockstepError } from '../error/lockstep-error.ts';

export function invalidSignature(format: string, why: string): LockstepError {
  return new LockstepError('ENVELOPE_INVALID', `Not a ${format}: ${why}`, 'Get the file again from where it came from.');
}

export function invalidKey(format: string, why: string): LockstepError {
  return new LockstepError('KEY_INVALID', `Not a ${format}: ${why}`, '"lockstep key fingerprint" prints public keys in each form.');
}

/** @throws LockstepError ENVELOPE_INVALID */
export function requireSignatureBytes(format: string, what: string, bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) throw invalidSignature(format, `the ${what} has ${bytes.length} bytes, not ${length}`);
}

/** @throws LockstepError KEY_INVALID */
export function requireKeyBytes(format: string, what: string, bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) throw invalidKey(format, `the ${what} has ${bytes.length} bytes, not ${length}`);
}
