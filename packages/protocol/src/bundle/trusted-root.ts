/** Sigstore trusted root (protobuf-specs `sigstore_trustroot.proto`, in its JSON) for verifiers that this project did not write. */
import { toBase64 } from '../bytes/base64.ts';
import { ed25519Spki } from '../key/ed25519.ts';
import type { Json } from '../json/parse.ts';
import { noteKeyHash, type VerifierKey } from '../note/verifier-key.ts';

/** @param start RFC 3339; from when the logs' keys count */
export function trustedRootOf(logs: readonly VerifierKey[], start: string): Json {
  return {
    mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
    tlogs: logs.map((key) => ({
      // Sigstore matches the name of a checkpoint's signature within this address.
      baseUrl: `https://${key.name}`,
      hashAlgorithm: 'SHA2_256',
      publicKey: {
        rawBytes: toBase64(ed25519Spki(key.publicKey)),
        keyDetails: 'PKIX_ED25519',
        validFor: { start },
      },
      logId: { keyId: toBase64(noteKeyHash(key.name, key.type, key.publicKey)) },
    })),
    certificateAuthorities: [],
    ctlogs: [],
    timestampAuthorities: [],
  };
}
