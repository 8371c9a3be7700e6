/**
 * The checksum file of a release, in the form of BSD that `sha256sum -c` and `signify -C` both read: `SHA256 (NAME) = HEX`.
 * One spelling: sorted by the bytes of the names, each once, a newline after each line.
 */
import { toUtf8 } from '../bytes/utf8.ts';
import { isSha256, type Sha256 } from '../digest/digest.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { isPrintable } from '../signature/printable.ts';

/** A release has a handful; the bound is on what a stranger makes us sort. */
const MAX_FILES = 10_000;
/** signify reads names into 1024 bytes. */
const MAX_NAME_BYTES = 1000;
/** Names of 300 bytes for each of the files; signify's message is bounded by the same. */
const MAX_LENGTH = 4 << 20;

export interface ChecksumLine {
  readonly name: string;
  readonly sha256: Sha256;
}

/**
 * A relative path. Refused besides: a parenthesis (signify ends the name at the first `)`, sha256sum at the last), a backslash
 * (sha256sum escapes), `-` in front (`-` alone is the standard input, the rest look like options), and what no terminal shows as it is.
 */
export function isChecksumName(name: string): boolean {
  return (
    isPrintable(name, MAX_NAME_BYTES) &&
    !/[()\\]/.test(name) &&
    !name.startsWith('-') &&
    name.split('/').every((part) => part !== '' && part !== '.' && part !== '..')
  );
}

/** @throws LockstepError ENVELOPE_INVALID */
export function formatChecksums(files: readonly ChecksumLine[]): string {
  if (files.length === 0 || files.length > MAX_FILES) throw refused(`it has ${files.length} files, not 1 to ${MAX_FILES}`);
  for (const { name, sha256 } of files) {
    if (!isChecksumName(name)) throw refused(`${JSON.stringify(name.slice(0, 100))} is no name that every tool reads`);
    if (!isSha256(sha256)) throw refused('a digest is not 64 lower-case hex digits');
  }
  const sorted = files.map((file) => ({ file, key: toUtf8(file.name) })).sort((one, other) => compareBytes(one.key, other.key));
  if (sorted.some(({ file }, index) => sorted[index - 1]?.file.name === file.name)) throw refused('a name is there twice');
  const text = sorted.map(({ file }) => `SHA256 (${file.name}) = ${file.sha256}\n`).join('');
  if (toUtf8(text).length > MAX_LENGTH) throw refused('it is too long');
  return text;
}

/** @throws LockstepError ENVELOPE_INVALID */
export function parseChecksums(text: string): readonly ChecksumLine[] {
  if (text.length > MAX_LENGTH) throw refused('it is too long');
  const files = text
    .split('\n', MAX_FILES + 2)
    .slice(0, -1)
    .map((line) => {
      const match = /^SHA256 \(([^()]*)\) = ([0-9a-f]{64})$/.exec(line);
      return { name: match?.[1] ?? '', sha256: (match?.[2] ?? '') as Sha256 };
    });
  // Also compares order, and that there is a newline at the end.
  if (formatChecksums(files) !== text) throw refused('its lines are not sorted, or malformed');
  return files;
}

function compareBytes(one: Uint8Array, other: Uint8Array): number {
  const at = one.findIndex((byte, index) => byte !== other[index]);
  return at < 0 ? one.length - other.length : (one[at] ?? 0) - (other[at] ?? -1);
}

function refused(why: string): LockstepError {
  return new LockstepError('ENVELOPE_INVALID', `Not a checksum file: ${why}`, 'Rename the file, or get the checksum file again.');
}
