/** Paths of a Nix store (Nix manual, "Store Path Specification"), for content that is named by the SHA-256 of its NAR. */
import { sha256 } from '@noble/hashes/sha2.js';
import { toHex } from '../bytes/hex.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import { invalidSignature, requireSignatureBytes } from './refused.ts';
import { fromNix32, toNix32 } from './nix32.ts';

const FORMAT = 'Nix store path';
/** The directory is part of what is hashed: a store elsewhere has other paths. */
export const NIX_STORE = '/nix/store';
const HASH_BYTES = 20;
const HASH_DIGITS = 32;

/** Nix's own rule; a dot in front is refused by some versions, so by us. */
export function isNixName(name: string): boolean {
  return /^[0-9A-Za-z+\-_?=][0-9A-Za-z+\-._?=]{0,210}$/.test(name);
}

/** What follows `/nix/store/`: hash, hyphen, name. */
export function isNixBaseName(text: string): boolean {
  return text[HASH_DIGITS] === '-' && fromNix32(text.slice(0, HASH_DIGITS), HASH_BYTES) !== null && isNixName(text.slice(HASH_DIGITS + 1));
}

/** @throws LockstepError ENVELOPE_INVALID */
export function nixStorePathOfNar(what: { readonly narSha256: Uint8Array; readonly name: string }): string {
  requireSignatureBytes(FORMAT, 'SHA-256 of the NAR', what.narSha256, 32);
  if (!isNixName(what.name)) throw invalidSignature(FORMAT, 'the name has characters that Nix refuses, or is too long');
  const hash = sha256(toUtf8(`source:sha256:${toHex(what.narSha256)}:${NIX_STORE}:${what.name}`));
  const folded = new Uint8Array(HASH_BYTES);
  for (const [index, byte] of hash.entries()) folded[index % HASH_BYTES] = (folded[index % HASH_BYTES] ?? 0) ^ byte;
  return `${NIX_STORE}/${toNix32(folded)}-${what.name}`;
}

/** The `CA` field of such a path. A store that reads it needs no signature: the path is the proof. @throws LockstepError ENVELOPE_INVALID */
export function nixContentAddress(narSha256: Uint8Array): string {
  requireSignatureBytes(FORMAT, 'SHA-256 of the NAR', narSha256, 32);
  return `fixed:r:sha256:${toNix32(narSha256)}`;
}
