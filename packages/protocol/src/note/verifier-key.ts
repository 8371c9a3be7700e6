/** Verifier keys of C2SP signed-note: `<name>+<key id>+base64(type || public key)`. */
import { sha256 } from '@noble/hashes/sha2.js';
import { fromBase64, toBase64 } from '../bytes/base64.ts';
import { toHex } from '../bytes/hex.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import { LockstepError } from '../error/lockstep-error.ts';

/** Signature types of C2SP signed-note: an Ed25519 note, and the two cosignatures of C2SP tlog-cosignature. */
export const NOTE_KEY_TYPES = { ed25519: 0x01, 'cosignature-ed25519': 0x04, 'cosignature-ml-dsa-44': 0x06 } as const;
export type NoteKeyType = keyof typeof NOTE_KEY_TYPES;

const KEY_BYTES: Readonly<Record<NoteKeyType, number>> = { ed25519: 32, 'cosignature-ed25519': 32, 'cosignature-ml-dsa-44': 1312 };

export interface VerifierKey {
  readonly name: string;
  /** 8 lower-case hex digits. Short: it names a key, and does not prove it. */
  readonly keyId: string;
  readonly type: NoteKeyType;
  readonly publicKey: Uint8Array;
}

/**
 * "Key names MUST be non-empty and MUST NOT contain any Unicode spaces or plus characters", nor what no note may have.
 * At most 255 bytes: what the signed message of an ML-DSA-44 cosignature has room for.
 */
export function isKeyName(name: string): boolean {
  return name !== '' && name.isWellFormed() && toUtf8(name).length <= 255 && !/[\p{White_Space}\u0000-\u001f+]/u.test(name);
}

/** SHA-256(name || 0x0A || type || public key), its first four bytes. */
export function noteKeyId(name: string, type: NoteKeyType, publicKey: Uint8Array): string {
  return toHex(noteKeyHash(name, type, publicKey).subarray(0, 4));
}

/** All 32 bytes of it: the log id of a Sigstore trusted root. */
export function noteKeyHash(name: string, type: NoteKeyType, publicKey: Uint8Array): Uint8Array {
  return sha256(Uint8Array.from([...toUtf8(`${name}\n`), NOTE_KEY_TYPES[type], ...publicKey]));
}

export function makeVerifierKey(name: string, type: NoteKeyType, publicKey: Uint8Array): VerifierKey {
  if (!isKeyName(name) || publicKey.length !== KEY_BYTES[type]) throw new TypeError('not a key name, or not a key of this type');
  return { name, type, publicKey, keyId: noteKeyId(name, type, publicKey) };
}

export function formatVerifierKey(key: VerifierKey): string {
  return `${key.name}+${key.keyId}+${toBase64(Uint8Array.from([NOTE_KEY_TYPES[key.type], ...key.publicKey]))}`;
}

/** @throws LockstepError KEY_INVALID */
export function parseVerifierKey(text: string): VerifierKey {
  const invalid = (why: string): LockstepError =>
    new LockstepError(
      'KEY_INVALID',
      `Not a verifier key: ${why}`,
      'It is one line like NAME+HEX+BASE64; "lockstep log show" and "lockstep witness-keys" print theirs.',
    );
  const match = /^([^+]{1,255})\+([0-9a-f]{8})\+([A-Za-z0-9+/]{1,2000}={0,2})$/.exec(text);
  if (match === null) throw invalid('it has not the three parts');
  const [, name = '', keyId, encoded = ''] = match;
  const bytes = fromBase64(encoded);
  if (!isKeyName(name) || bytes === null || toBase64(bytes) !== encoded) throw invalid('its name or its base64 is malformed');
  const type = (Object.keys(NOTE_KEY_TYPES) as NoteKeyType[]).find((one) => NOTE_KEY_TYPES[one] === bytes[0]);
  if (type === undefined) throw invalid(`signature type ${bytes[0] ?? 'none'} is not one that is known here`);
  const publicKey = bytes.slice(1);
  if (publicKey.length !== KEY_BYTES[type]) throw invalid(`a key of this type has ${KEY_BYTES[type]} bytes`);
  if (noteKeyId(name, type, publicKey) !== keyId) throw invalid('its key id is not the one of its name and key');
  return { name, keyId, type, publicKey };
}
