/** What strangers find beside the artifacts: the record, and a signature in each format, as the format's own tools read it. */
import { mkdirSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { fromBase64 } from '@lockstep/protocol/bytes/base64';
import { fromHex } from '@lockstep/protocol/bytes/hex';
import { toUtf8 } from '@lockstep/protocol/bytes/utf8';
import { type Envelope, formatEnvelope, IN_TOTO_PAYLOAD } from '@lockstep/protocol/dsse/envelope';
import { anyKeyFromPem, rawEd25519 } from '@lockstep/protocol/key/any-key';
import type { KeyUse } from '@lockstep/protocol/key/key-use';
import { makeVerifierKey } from '@lockstep/protocol/note/verifier-key';
import { formatChecksums } from '@lockstep/protocol/release/checksums';
import { RELEASE, releaseBytes, type ReleaseRecord } from '@lockstep/protocol/release/release-record';
import { vsaBytes } from '@lockstep/protocol/release/vsa';
import { formatMinisig } from '@lockstep/protocol/signature/minisign';
import { minisignKeyId } from '@lockstep/protocol/signature/minisign-key';
import { formatNarinfo } from '@lockstep/protocol/signature/nix-cache';
import { nixStorePathOfNar } from '@lockstep/protocol/signature/nix-store-path';
import { formatReleaseNote } from '@lockstep/protocol/signature/release-note';
import { formatSignify, signifyKeyNumber } from '@lockstep/protocol/signature/signify';
import { formatSshsig } from '@lockstep/protocol/signature/sshsig';
import {
  CHECKSUMS_FILE,
  narName,
  NOTE_FILE,
  noteText,
  RECORD_FILE,
  SSH_NAMESPACE,
  trustedComment,
  VSA_FILE,
} from '@lockstep/protocol/signing/plan';
import type { MadeSignature } from '@lockstep/protocol/signing/record';
import { writeDurably } from '@lockstep/store/durable';

/** @returns their names in the folder */
export function writeSignatureFiles(out: string, record: ReleaseRecord, signatures: readonly MadeSignature[]): string[] {
  const files = new Map<string, string | Uint8Array>([
    [RECORD_FILE, releaseBytes(record)],
    [VSA_FILE, vsaBytes(record)],
    [CHECKSUMS_FILE, formatChecksums(record.files)],
  ]);
  for (const { file, envelope } of envelopesOf(record, signatures))
    files.set(file.replace(/\.json$/, '.dsse.json'), formatEnvelope(envelope));
  for (const one of signatures)
    if (one.use !== 'release-dsse') for (const [name, content] of siblings(record, one)) files.set(name, content);
  for (const [name, content] of files) {
    mkdirSync(dirname(`${out}/${name}`), { recursive: true });
    writeDurably(`${out}/${name}`, content);
  }
  return [...files.keys()];
}

/** The DSSE envelopes of a release, each with the signatures of all that approved it. */
export function envelopesOf(
  record: ReleaseRecord,
  signatures: readonly MadeSignature[],
): { readonly file: string; readonly envelope: Envelope }[] {
  return (
    [
      [RECORD_FILE, RELEASE.payloadType, releaseBytes(record)],
      [VSA_FILE, IN_TOTO_PAYLOAD, vsaBytes(record)],
    ] as const
  ).flatMap(([file, payloadType, payload]) => {
    const mine = signatures.filter((one) => one.use === 'release-dsse' && one.file === file);
    const envelope = { payloadType, payload, signatures: mine.map((one) => ({ keyid: one.key.id, sig: bytes(one.signature) })) };
    return mine.length === 0 ? [] : [{ file, envelope }];
  });
}

function siblings(record: ReleaseRecord, one: MadeSignature): (readonly [string, string | Uint8Array])[] {
  const signature = bytes(one.signature);
  const key = anyKeyFromPem(one.key.pem);
  const publicKey = rawEd25519(key);
  const file = one.file ?? '';
  const first = `${record.name} ${record.version}`;
  if (one.use === 'nix-cache') return narinfo(record, one, signature);
  const written: Partial<Record<KeyUse, () => readonly [string, string | Uint8Array]>> = {
    'release-minisign': () => [`${file}.minisig`, minisig(record, one, publicKey, signature)],
    'release-signify': () => [
      `${CHECKSUMS_FILE}.sig`,
      formatSignify({ comment: `${first}: verify with signify -V`, keyNumber: signifyKeyNumber(publicKey), signature }),
    ],
    'release-raw': () => [`${CHECKSUMS_FILE}.ed25519`, signature],
    'release-ssh': () => [`${file}.sshsig`, formatSshsig({ publicKey, namespace: SSH_NAMESPACE, signature })],
    'release-note': () => [NOTE_FILE, formatReleaseNote(noteText(record), makeVerifierKey(one.key.name, 'ed25519', publicKey), signature)],
  };
  const write = written[one.use];
  return write === undefined ? [] : [write()];
}

function minisig(record: ReleaseRecord, one: MadeSignature, publicKey: Uint8Array, signature: Uint8Array): string {
  return formatMinisig({
    keyId: (one.key.number === null ? null : fromHex(one.key.number, 8)) ?? minisignKeyId(publicKey),
    signature,
    trustedComment: trustedComment(record, one.file ?? ''),
    globalSignature: bytes(one.second ?? ''),
    untrustedComment: 'verify with minisign -VH',
  });
}

function narinfo(record: ReleaseRecord, one: MadeSignature, signature: Uint8Array): (readonly [string, string])[] {
  const file = record.files.find(({ name }) => name === one.file);
  const name = file === undefined ? null : narName(file.name);
  const narSha256 = file === undefined ? null : fromHex(file.sha256, 32);
  if (file === undefined || name === null || narSha256 === null) return [];
  const storePath = nixStorePathOfNar({ narSha256, name });
  const text = formatNarinfo({
    storePath,
    narSha256,
    narSize: file.size,
    references: [],
    url: file.name,
    compression: 'none',
    fileSha256: narSha256,
    fileSize: file.size,
    deriver: null,
    system: null,
    signatures: [{ name: one.key.name, signature }],
    // With it a store would check the path alone, and ask for no signature.
    contentAddress: null,
  });
  return [[`${basename(storePath).slice(0, 32)}.narinfo`, text]];
}

function bytes(base64: string): Uint8Array {
  return fromBase64(base64) ?? toUtf8('');
}
