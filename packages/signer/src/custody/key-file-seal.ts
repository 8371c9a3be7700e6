/** The secret of a key file: ChaCha20-Poly1305 (RFC 8439) under a key that scrypt makes of the passphrase. */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { additionalData, formatKeyFile, type Kdf, type KeyFileHeader, SALT_BYTES } from './key-file-format.ts';
import { DEFAULT_SCRYPT, deriveKey, type ScryptParameters, scryptProblem } from './scrypt.ts';

/** Asked only when the file has one. What it gives is taken over and wiped; null is "I have none". */
export type AskPassphrase = () => Promise<Uint8Array | null>;

/** Zero (RFC 8439): every writing has a salt of its own, hence a key that encrypts once. */
const NONCE = new Uint8Array(12);

const TAG = { authTagLength: 16 };

/** The bytes of the file. @throws LockstepError KEY_INVALID for a passphrase or parameters that protect nothing */
export async function protect(
  header: KeyFileHeader,
  pkcs8: Buffer,
  passphrase: Uint8Array | null,
  scrypt: ScryptParameters = DEFAULT_SCRYPT,
): Promise<Uint8Array> {
  if (passphrase === null) return formatKeyFile({ ...header, protection: 'none', pkcs8 });
  const problem = passphrase.length === 0 ? 'its passphrase is empty' : scryptProblem(scrypt);
  if (problem !== null)
    throw new LockstepError('KEY_INVALID', `The key cannot be encrypted: ${problem}`, 'Give a passphrase, or none at all.');
  const kdf: Kdf = { ...scrypt, salt: Uint8Array.from(randomBytes(SALT_BYTES)) };
  const key = await deriveKey(passphrase, kdf.salt, kdf, 32);
  try {
    const cipher = createCipheriv('chacha20-poly1305', key, NONCE, TAG);
    cipher.setAAD(additionalData(header, kdf), { plaintextLength: pkcs8.length });
    const ciphertext = Uint8Array.from([...cipher.update(pkcs8), ...cipher.final(), ...cipher.getAuthTag()]);
    return formatKeyFile({ ...header, protection: 'passphrase', kdf, ciphertext });
  } finally {
    key.fill(0);
  }
}

/** PKCS#8; the caller wipes it. @throws LockstepError PASSPHRASE_WRONG */
export async function decrypt(
  path: string,
  header: KeyFileHeader,
  file: { readonly kdf: Kdf; readonly ciphertext: Uint8Array },
  ask: AskPassphrase,
): Promise<Buffer> {
  const passphrase = await ask();
  if (passphrase === null || passphrase.length === 0) throw wrong(`${path} is encrypted, and no passphrase was given`);
  const key = await deriveKey(passphrase, file.kdf.salt, file.kdf, 32).finally(() => passphrase.fill(0));
  try {
    const at = file.ciphertext.length - TAG.authTagLength;
    const cipher = createDecipheriv('chacha20-poly1305', key, NONCE, TAG);
    cipher.setAAD(additionalData(header, file.kdf), { plaintextLength: at });
    cipher.setAuthTag(file.ciphertext.subarray(at));
    const pkcs8 = cipher.update(file.ciphertext.subarray(0, at));
    try {
      cipher.final();
    } catch {
      pkcs8.fill(0);
      throw wrong(`The passphrase does not open ${path}`);
    }
    return pkcs8;
  } finally {
    key.fill(0);
  }
}

function wrong(message: string): LockstepError {
  return new LockstepError(
    'PASSPHRASE_WRONG',
    message,
    'Give the one with which it was made. A file that somebody changed does not open either.',
  );
}
