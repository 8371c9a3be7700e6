/** A key that can sign, wherever it is kept. All that the rest of a signing node knows of custody. */
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import type { AnyKey } from '@lockstep/protocol/key/any-key';
import { type KeyUse, mayUse } from '@lockstep/protocol/key/key-use';

export const CUSTODY_KINDS = ['file', 'memory', 'pkcs11', 'frost'] as const;
export type CustodyKind = (typeof CUSTODY_KINDS)[number];

export interface SigningKey {
  readonly name: string;
  /** The one thing that it is for. */
  readonly use: KeyUse;
  readonly custody: CustodyKind;
  readonly public: AnyKey;
  /** minisign's number of a key that minisign made, in hex: its signatures have to repeat it. */
  readonly minisignKeyId?: string | null;
  /**
   * Ed25519: 64 bytes over the message (RFC 8032). ECDSA P-256: ASN.1 DER over its SHA-256.
   * @throws LockstepError CUSTODY_FAILED when what keeps the key does not answer
   */
  sign(message: Uint8Array): Promise<Uint8Array>;
  /** Forgets the secret, or ends the session with what keeps it. */
  close(): Promise<void>;
}

/** A key says what it is for, and is asked for nothing else. @throws LockstepError KEY_INVALID */
export function requireUse(key: Pick<SigningKey, 'name' | 'use' | 'public'>, wanted: KeyUse): void {
  if (key.use !== wanted)
    throw new LockstepError(
      'KEY_INVALID',
      `The key ${key.name} is for ${key.use}, and was asked for ${wanted}`,
      `Make a key for it: lockstep key new NAME --use ${wanted}. One key for two purposes could be made to sign one as the other.`,
    );
  if (!mayUse(key.use, key.public.algorithm))
    throw new LockstepError(
      'KEY_INVALID',
      `The key ${key.name} is ${key.public.algorithm}, and ${key.use} cannot be signed with that`,
      'Make another with "lockstep key new".',
    );
}
