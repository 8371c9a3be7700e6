/** Public keys and signatures of a Nix binary cache: `NAME:BASE64`, both of them (nix.conf(5), "trusted-public-keys"). */
import { fromBase64, toBase64 } from '../bytes/base64.ts';
import { invalidKey, invalidSignature, requireKeyBytes, requireSignatureBytes } from './refused.ts';

const KEY = 'public key of a Nix cache';
const SIGNATURE = 'Nix signature';

export interface NixKey {
  readonly name: string;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
}

export interface NixSignature {
  readonly name: string;
  /** 64 bytes. */
  readonly signature: Uint8Array;
}

/** @throws LockstepError KEY_INVALID */
export function formatNixKey(key: NixKey): string {
  if (!isKeyName(key.name)) throw invalidKey(KEY, 'the name is empty, malformed or too long');
  requireKeyBytes(KEY, 'key', key.publicKey, 32);
  return `${key.name}:${toBase64(key.publicKey)}`;
}

/** @throws LockstepError KEY_INVALID */
export function parseNixKey(text: string): NixKey {
  const read = split(text, 32);
  if (read === null) throw invalidKey(KEY, 'it is not NAME:BASE64 of 32 bytes');
  return { name: read.name, publicKey: read.bytes };
}

/** @throws LockstepError ENVELOPE_INVALID */
export function formatNixSignature(one: NixSignature): string {
  if (!isKeyName(one.name)) throw invalidSignature(SIGNATURE, 'the name of the key is empty, malformed or too long');
  requireSignatureBytes(SIGNATURE, 'signature', one.signature, 64);
  return `${one.name}:${toBase64(one.signature)}`;
}

/** @throws LockstepError ENVELOPE_INVALID */
export function parseNixSignature(text: string): NixSignature {
  const read = split(text, 64);
  if (read === null) throw invalidSignature(SIGNATURE, 'it is not NAME:BASE64 of 64 bytes');
  return { name: read.name, signature: read.bytes };
}

/** Nix takes anything without a colon; keys are listed with spaces between them. */
function isKeyName(name: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(name);
}

function split(text: string, length: number): { name: string; bytes: Uint8Array } | null {
  if (text.length > 200) return null;
  const [name = '', encoded = '', more] = text.split(':');
  const bytes = fromBase64(encoded);
  if (more !== undefined || !isKeyName(name) || bytes === null || bytes.length !== length || toBase64(bytes) !== encoded) return null;
  return { name, bytes };
}
