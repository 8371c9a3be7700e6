/** The `string` of SSH (RFC 4251 section 5), and public keys as SSH has them (RFC 8709 section 4, RFC 5656 section 3.1). */
import { concatBytes } from '@noble/hashes/utils.js';
import { toUtf8 } from '../bytes/utf8.ts';

const LENGTH_BYTES = 4;

export function sshString(value: Uint8Array | string): Uint8Array {
  const bytes = typeof value === 'string' ? toUtf8(value) : value;
  const out = new Uint8Array(LENGTH_BYTES + bytes.length);
  new DataView(out.buffer).setUint32(0, bytes.length);
  out.set(bytes, LENGTH_BYTES);
  return out;
}

/** Exactly `count` strings and nothing behind them, else null. */
export function readSshStrings(bytes: Uint8Array, count: number): readonly Uint8Array[] | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found: Uint8Array[] = [];
  let at = 0;
  while (found.length < count) {
    if (at + LENGTH_BYTES > bytes.length) return null;
    const end = at + LENGTH_BYTES + view.getUint32(at);
    if (end > bytes.length) return null;
    found.push(bytes.slice(at + LENGTH_BYTES, end));
    at = end;
  }
  return at === bytes.length ? found : null;
}

/** @param publicKey 32 bytes */
export function sshEd25519Blob(publicKey: Uint8Array): Uint8Array {
  return concatBytes(sshString('ssh-ed25519'), sshString(publicKey));
}

/** @param point 65 bytes, uncompressed */
export function sshP256Blob(point: Uint8Array): Uint8Array {
  return concatBytes(sshString('ecdsa-sha2-nistp256'), sshString('nistp256'), sshString(point));
}
