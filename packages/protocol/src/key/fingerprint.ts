/** One public key in the forms that people publish and compare, through channels that do not depend on each other. */
import { sha256 } from '@noble/hashes/sha2.js';
import { toBase64 } from '../bytes/base64.ts';
import { type Sha256, sha256Hex } from '../digest/digest.ts';
import { minisignKeyId, minisignKeyLine } from '../signature/minisign-key.ts';
import { sshKeyLine } from '../signature/ssh-key.ts';
import { sshEd25519Blob, sshP256Blob } from '../signature/ssh-wire.ts';
import { type AnyKey, rawEd25519 } from './any-key.ts';
import { proquints } from './fingerprint-words.ts';

/** 128 bits: nobody finds a second key with the same words. */
const WORDS_BYTES = 16;
/** An uncompressed point is the end of the SPKI. */
const POINT_BYTES = 65;

export interface Fingerprints {
  /** SHA-256 of the SubjectPublicKeyInfo: the key's id. */
  readonly hex: Sha256;
  /** Its first 16 bytes, as eight words to be read aloud. */
  readonly words: string;
  /** What `minisign -P` takes; Ed25519 only. */
  readonly minisign: string | null;
  /** What `ssh-keygen -l` shows; Ed25519 and ECDSA P-256 only. */
  readonly ssh: string | null;
  /** The line of a `.pub` file. */
  readonly sshLine: string | null;
}

/** @param name the comment of `sshLine` @throws LockstepError KEY_INVALID */
export function fingerprints(key: AnyKey, name: string): Fingerprints {
  const ssh = sshForm(key);
  const raw = key.algorithm === 'ed25519' ? rawEd25519(key) : null;
  return {
    hex: sha256Hex(key.spki),
    words: proquints(sha256(key.spki).subarray(0, WORDS_BYTES)),
    minisign: raw === null ? null : minisignKeyLine(minisignKeyId(raw), raw),
    ssh: ssh === null ? null : `SHA256:${toBase64(sha256(ssh.blob)).replaceAll('=', '')}`,
    sshLine: ssh === null ? null : sshKeyLine(ssh.type, ssh.blob, name),
  };
}

function sshForm(key: AnyKey): { type: string; blob: Uint8Array } | null {
  if (key.algorithm === 'ed25519') return { type: 'ssh-ed25519', blob: sshEd25519Blob(rawEd25519(key)) };
  if (key.algorithm === 'ecdsa-p256') return { type: 'ecdsa-sha2-nistp256', blob: sshP256Blob(key.spki.slice(-POINT_BYTES)) };
  return null;
}
