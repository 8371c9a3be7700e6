/** C2SP tlog-checkpoint: what a log says of its tree, as the text of a signed note. */
import { fromBase64, toBase64 } from '../bytes/base64.ts';
import { toUtf8 } from '../bytes/utf8.ts';
import { LockstepError } from '../error/lockstep-error.ts';
import { HASH_BYTES } from '../merkle/hash.ts';
import type { TreeHead } from '../merkle/proof.ts';

export interface Checkpoint extends TreeHead {
  /** Names the log for good. */
  readonly origin: string;
  /** Opaque lines after the third. We write none. */
  readonly extensions: readonly string[];
}

/** A whole number without leading zeroes, up to 2^53 - 1; else null. */
export function parseDecimal(text: string): number | null {
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(text)) return null;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : null;
}

/** A hash of 32 bytes in the one base64 that there is for it; else null. */
export function parseHash(text: string): Uint8Array | null {
  if (text.length !== 44) return null;
  const bytes = fromBase64(text);
  return bytes !== null && bytes.length === HASH_BYTES && toBase64(bytes) === text ? bytes : null;
}

/** At most 255 bytes: what the signed message of an ML-DSA-44 cosignature has room for. */
export function isOrigin(text: string): boolean {
  return text !== '' && text.isWellFormed() && toUtf8(text).length <= 255 && !/[\u0000-\u001f]/.test(text);
}

/** @throws LockstepError CHECKPOINT_INVALID */
export function parseCheckpointText(text: string): Checkpoint {
  const invalid = (why: string): LockstepError =>
    new LockstepError('CHECKPOINT_INVALID', `Not a checkpoint: ${why}`, 'Get it again from the log.');
  if (!text.endsWith('\n')) throw invalid('it does not end with a newline');
  const [origin = '', sizeText = '', rootText = '', ...extensions] = text.slice(0, -1).split('\n');
  if (!isOrigin(origin)) throw invalid('its first line is no origin');
  const size = parseDecimal(sizeText);
  if (size === null) throw invalid('its second line is no tree size');
  const root = parseHash(rootText);
  if (root === null) throw invalid('its third line is no root hash');
  if (extensions.some((line) => !isOrigin(line))) throw invalid('an extension line is empty');
  return { origin, size, root, extensions };
}

export function formatCheckpointText(checkpoint: Checkpoint): string {
  return [checkpoint.origin, String(checkpoint.size), toBase64(checkpoint.root), ...checkpoint.extensions, ''].join('\n');
}
