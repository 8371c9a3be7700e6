/**
 * What is signed for a release: for each use of a key the bytes in each format. Made by the requester and by the node,
 * from the record alone, so that no format needs the artifacts' bytes.
 */
import { fromHex, toHex } from '../bytes/hex.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import { pae, IN_TOTO_PAYLOAD } from '../dsse/envelope.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import type { KeyUse } from '../key/key-use.ts';
import { formatChecksums } from '../release/checksums.ts';
import { RELEASE, releaseBytes, releaseDigest, type ReleaseRecord } from '../release/release-record.ts';
import { vsaBytes } from '../release/vsa.ts';
import { minisignGlobalMessage, minisignMessage } from '../signature/minisign.ts';
import { nixFingerprint } from '../signature/nix-cache.ts';
import { nixStorePathOfNar } from '../signature/nix-store-path.ts';
import { releaseNoteMessage } from '../signature/release-note.ts';
import { sshsigMessage } from '../signature/sshsig.ts';
import type { SignatureFormat } from './record.ts';

export interface PlannedSignature {
  readonly use: KeyUse;
  readonly format: SignatureFormat;
  /** The artifact or document; null where there is one for the whole release. */
  readonly file: string | null;
  readonly message: Uint8Array;
  /** minisign signs its first signature and the trusted comment again. */
  readonly second: ((signature: Uint8Array) => Uint8Array) | null;
}

/** Files of a release that are no artifacts. */
export const RECORD_FILE = 'release.json';
export const VSA_FILE = 'vsa.json';
export const CHECKSUMS_FILE = 'SHA256SUMS';
export const NOTE_FILE = 'release.note';
/** What an SSH signature is for: `ssh-keygen -Y verify -n` has to say the same. */
export const SSH_NAMESPACE = 'lockstep-release';

/** Uses that have something to sign in a release. */
export const RELEASE_USES = [
  'release-dsse',
  'release-minisign',
  'release-signify',
  'release-ssh',
  'release-note',
  'release-raw',
  'nix-cache',
] as const satisfies readonly KeyUse[];

/** As text: why a format cannot hold it (a name with a line break, …). */
export function planRelease(record: ReleaseRecord, uses: readonly KeyUse[]): PlannedSignature[] | string {
  try {
    return RELEASE_USES.filter((use) => uses.includes(use)).flatMap((use) => planned(record, use));
  } catch (error) {
    if (error instanceof LockstepError) return error.message;
    throw error;
  }
}

function planned(record: ReleaseRecord, use: (typeof RELEASE_USES)[number]): PlannedSignature[] {
  const one = (format: SignatureFormat, file: string, message: Uint8Array): PlannedSignature => ({
    use,
    format,
    file,
    message,
    second: null,
  });
  switch (use) {
    case 'release-dsse':
      return [
        one('dsse', RECORD_FILE, pae(RELEASE.payloadType, releaseBytes(record))),
        one('dsse', VSA_FILE, pae(IN_TOTO_PAYLOAD, vsaBytes(record))),
      ];
    case 'release-minisign':
      return record.files.map((file) => {
        const second = (signature: Uint8Array): Uint8Array => minisignGlobalMessage(signature, trustedComment(record, file.name));
        // Refuses a comment that minisign cannot hold now, and not when the first signature is there.
        second(new Uint8Array(64));
        return { ...one('minisign', file.name, minisignMessage(bytesOf(file.blake2b512, 64))), second };
      });
    case 'release-signify':
      return [one('signify', CHECKSUMS_FILE, toUtf8(formatChecksums(record.files)))];
    case 'release-raw':
      return [one('raw', CHECKSUMS_FILE, toUtf8(formatChecksums(record.files)))];
    case 'release-ssh':
      return record.files.map((file) => one('sshsig', file.name, sshsigMessage(SSH_NAMESPACE, bytesOf(file.sha512, 64))));
    case 'release-note':
      return [one('note', NOTE_FILE, releaseNoteMessage(noteText(record)))];
    case 'nix-cache':
      break;
  }
  return plannedArchives(record, use);
}

/** @param use by its type the one that is left */
function plannedArchives(record: ReleaseRecord, use: 'nix-cache'): PlannedSignature[] {
  return record.files.flatMap((file) => {
    const message = narFingerprint(file);
    return message === null ? [] : [{ use, format: 'nix' as const, file: file.name, message, second: null }];
  });
}

/** Signed too, so that one file's signature cannot be shown for another of the same bytes, nor for another release. */
export function trustedComment(record: ReleaseRecord, file: string): string {
  return `${record.name} ${record.version} file:${file} release:${releaseDigest(record).slice(0, 32)}`;
}

/** The text of a signed note: what was released, and every file's digest. */
export function noteText(record: ReleaseRecord): string {
  return `lockstep-release\n${record.name} ${record.version}\n${releaseDigest(record)}\n${formatChecksums(record.files)}`;
}

/** A path in a Nix store by its content: for an output NAME.nar, which is an archive of a path without references. */
export function narFingerprint(file: { readonly name: string; readonly size: number; readonly sha256: string }): Uint8Array | null {
  const name = narName(file.name);
  if (name === null) return null;
  const narSha256 = bytesOf(file.sha256, 32);
  return nixFingerprint({ storePath: nixStorePathOfNar({ narSha256, name }), narSha256, narSize: file.size, references: [] });
}

export function narName(file: string): string | null {
  return /^([A-Za-z0-9+_?=-][A-Za-z0-9+._?=-]{0,190})\.nar$/.exec(file.slice(file.lastIndexOf('/') + 1))?.[1] ?? null;
}

function bytesOf(hex: string, length: number): Uint8Array {
  const bytes = fromHex(hex, length);
  if (bytes === null) throw new TypeError(`not ${length} bytes in hex: ${toHex(toUtf8(hex)).slice(0, 40)}`);
  return bytes;
}
