/**
 * One leaf of a log: the `hashedrekord` 0.0.2 of Rekor v2 over the SHA-256 of a DSSE pre-authentication encoding, so that
 * Sigstore's own verifiers read it. What was signed lies beside the tiles, named by that digest.
 */
import { fromBase64, toBase64 } from '../bytes/base64.ts';
import { fromHex, toHex } from '../bytes/hex.ts';
import { oneOf, table, text } from '../decode/decode.ts';
import type { Sha256 } from '../digest/digest.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { canonicalBytes } from '../json/canonical.ts';
import { parseJson } from '../json/parse.ts';
import { type PublicKey, publicKeyFromSpki, verifyP256Digest } from '../key/p256.ts';

export const ENTRY_KIND = { kind: 'hashedrekord', version: '0.0.2' } as const;

export interface LogEntry {
  /** SHA-256 of PAE(payload type, payload). */
  readonly digest: Sha256;
  /** ASN.1 DER. */
  readonly signature: Uint8Array;
  readonly key: PublicKey;
}

const base64 = text('base64', (value) => value !== '', 1000);

const decode = table({
  apiVersion: oneOf([ENTRY_KIND.version] as const),
  kind: oneOf([ENTRY_KIND.kind] as const),
  spec: table({
    hashedRekordV002: table({
      data: table({ algorithm: oneOf(['SHA2_256'] as const), digest: base64 }),
      signature: table({
        content: base64,
        verifier: table({ keyDetails: oneOf(['PKIX_ECDSA_P256_SHA_256'] as const), publicKey: table({ rawBytes: base64 }) }),
      }),
    }),
  }),
});

export function formatLogEntry(entry: LogEntry): Uint8Array {
  return canonicalBytes({
    apiVersion: ENTRY_KIND.version,
    kind: ENTRY_KIND.kind,
    spec: {
      hashedRekordV002: {
        data: { algorithm: 'SHA2_256', digest: toBase64(fromHex(entry.digest, 32) ?? new Uint8Array(0)) },
        signature: {
          content: toBase64(entry.signature),
          verifier: { keyDetails: 'PKIX_ECDSA_P256_SHA_256', publicKey: { rawBytes: toBase64(entry.key.spki) } },
        },
      },
    },
  });
}

/**
 * Only the bytes that `formatLogEntry` writes: an entry has one spelling.
 * @throws LockstepError LOG_ENTRY_INVALID
 */
export function parseLogEntry(bytes: Uint8Array): LogEntry {
  const invalid = (why: string): LockstepError =>
    new LockstepError('LOG_ENTRY_INVALID', `Not a log entry: ${why}`, 'It is a hashedrekord 0.0.2 with an ECDSA P-256 key (spec/log.md).');
  let found: LogEntry;
  try {
    const decoded = decode(parseJson(bytes, 'log entry'), []);
    if (!decoded.ok) throw invalid(`expected ${decoded.issues[0]?.expected ?? ''} at ${decoded.issues[0]?.path.join('.') ?? ''}`);
    const { data, signature } = decoded.value.spec.hashedRekordV002;
    const digest = fromBase64(data.digest);
    const content = fromBase64(signature.content);
    const spki = fromBase64(signature.verifier.publicKey.rawBytes);
    if (digest?.length !== 32 || content === null || spki === null) throw invalid('a field is not base64 of the right length');
    found = { digest: toHex(digest) as Sha256, signature: content, key: publicKeyFromSpki(spki) };
  } catch (error) {
    if (error instanceof LockstepError && error.code === 'LOG_ENTRY_INVALID') throw error;
    throw invalid(error instanceof Error ? error.message : String(error));
  }
  const written = formatLogEntry(found);
  if (written.length !== bytes.length || !written.every((byte, index) => byte === bytes[index])) throw invalid('it is not canonical');
  return found;
}

/** Whether the key in the entry signed what the digest names. */
export function isSignedEntry(entry: LogEntry): boolean {
  return verifyP256Digest(entry.key, fromHex(entry.digest, 32) ?? new Uint8Array(0), entry.signature);
}
