/** Digests as distinct types, so that a build id cannot be handed over for a file's digest. */
import { blake2b } from '@noble/hashes/blake2.js';
import { sha256, sha512 } from '@noble/hashes/sha2.js';
import { toHex } from '../bytes/hex.ts';

declare const brand: unique symbol;

/** 64 lower-case hex digits. */
export type Sha256 = string & { readonly [brand]: 'sha256' };
/** SHA-256 of a build definition's canonical JSON. */
export type BuildId = Sha256 & { readonly [brand]: 'sha256' & 'build-id' };

/** What every subject carries, so that every signature format can be made from digests alone. Lower-case hex. */
export interface DigestSet {
  readonly sha256: Sha256;
  readonly sha512: string;
  readonly blake2b512: string;
}

export function isSha256(text: string): text is Sha256 {
  return /^[0-9a-f]{64}$/.test(text);
}

export function sha256Hex(bytes: Uint8Array): Sha256 {
  return toHex(sha256(bytes)) as Sha256;
}

/** For small content; files are hashed by whoever can stream them. */
export function digestBytes(bytes: Uint8Array): DigestSet {
  return { sha256: sha256Hex(bytes), sha512: toHex(sha512(bytes)), blake2b512: toHex(blake2b(bytes, { dkLen: 64 })) };
}
