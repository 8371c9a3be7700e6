/** A secret that is no private key (a share of a threshold key) in a file: encrypted with a passphrase, or as it is at home. */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { fromBase64, toBase64 } from '@lockstep/protocol/bytes/base64';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { integer, nullable, oneOf, table, text } from '@lockstep/protocol/decode/decode';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { canonicalText } from '@lockstep/protocol/json/canonical';
import { type Json, parseJson } from '@lockstep/protocol/json/parse';
import { createDurably } from '@lockstep/store/durable';
import type { AskPassphrase } from './key-file-seal.ts';
import { readPrivateFile } from './private-file.ts';
import { DEFAULT_SCRYPT, deriveKey, scryptProblem } from './scrypt.ts';

/** A share with the confirmations of 32 holders has a tenth of it. */
const MAX_SEALED = 2 << 20;
/** What fits the file in base64, with the rest of it. */
const MAX_SECRET = (MAX_SEALED / 4) * 3 - 4096;
const SALT_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

const base64 = text('base64', (value) => fromBase64(value) !== null, MAX_SEALED);
const decode = table({
  schema: oneOf(['lockstep-sealed/v1'] as const),
  /** What is inside, so that one kind is not opened as another. */
  kind: text('a word', (value) => /^[a-z-]{1,40}$/.test(value), 40),
  kdf: nullable(table({ n: integer(1, 2 ** 31), r: integer(1, 64), p: integer(1, 64), salt: base64, nonce: base64 })),
  bytes: base64,
});

/** @throws LockstepError KEY_INVALID when there is a file already, or for what could not be opened again or protects nothing */
export async function sealToFile(path: string, kind: string, secret: Uint8Array, passphrase: Uint8Array | null): Promise<void> {
  const problem = passphrase?.length === 0 ? 'its passphrase is empty' : secret.length > MAX_SECRET ? 'it is too large' : null;
  if (problem !== null)
    throw new LockstepError('KEY_INVALID', `The ${kind} cannot be sealed: ${problem}`, 'Give a passphrase, or none at all.');
  let file: { readonly kdf: Json; readonly bytes: string };
  if (passphrase === null) file = { kdf: null, bytes: toBase64(secret) };
  else {
    const [salt, nonce] = [randomBytes(SALT_BYTES), randomBytes(NONCE_BYTES)];
    const key = await deriveKey(passphrase, salt, DEFAULT_SCRYPT, 32);
    const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(toUtf8(kind), { plaintextLength: secret.length });
    const bytes = Buffer.concat([cipher.update(secret), cipher.final(), cipher.getAuthTag()]);
    key.fill(0);
    file = { kdf: { ...DEFAULT_SCRYPT, salt: toBase64(salt), nonce: toBase64(nonce) }, bytes: toBase64(bytes) };
  }
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  if (!createDurably(path, `${canonicalText({ schema: 'lockstep-sealed/v1', kind, ...file })}\n`, 0o600))
    throw new LockstepError('KEY_INVALID', `${path} is there already`, 'A secret is never written over: give another name.');
}

/** @throws LockstepError FILE_NOT_FOUND, KEY_INVALID, PASSPHRASE_WRONG */
export async function openSealedFile(path: string, kind: string, passphrase: AskPassphrase): Promise<Buffer> {
  const broken = (): LockstepError => new LockstepError('KEY_INVALID', `${path} is no sealed ${kind}`, 'Restore it from a backup.');
  let decoded: ReturnType<typeof decode>;
  const file = readPrivateFile(path, MAX_SEALED);
  try {
    decoded = decode(parseJson(file, 'sealed file'), []);
  } catch (error) {
    // What a parser says of a secret may quote it.
    if (error instanceof LockstepError && error.code === 'JSON_INVALID') throw broken();
    throw error;
  } finally {
    file.fill(0);
  }
  if (!decoded.ok || decoded.value.kind !== kind) throw broken();
  const { kdf, bytes } = decoded.value;
  const content = Buffer.from(fromBase64(bytes) ?? []);
  if (kdf === null) return content;
  const nonce = fromBase64(kdf.nonce) ?? new Uint8Array(0);
  if (scryptProblem(kdf) !== null || nonce.length !== NONCE_BYTES || content.length <= TAG_BYTES) throw broken();
  const said = await passphrase();
  const wrong = new LockstepError('PASSPHRASE_WRONG', `The passphrase does not open ${path}`, 'Try again.');
  if (said === null) throw wrong;
  const key = await deriveKey(said, fromBase64(kdf.salt) ?? new Uint8Array(0), kdf, 32).finally(() => void said.fill(0));
  try {
    const decipher = createDecipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG_BYTES });
    decipher.setAuthTag(content.subarray(-TAG_BYTES));
    const body = content.subarray(0, -TAG_BYTES);
    decipher.setAAD(toUtf8(kind), { plaintextLength: body.length });
    const secret = decipher.update(body);
    try {
      // A stream cipher has given everything by now; this checks the tag.
      decipher.final();
    } catch (error) {
      secret.fill(0);
      throw error;
    }
    return secret;
  } catch {
    throw wrong;
  } finally {
    key.fill(0);
  }
}
