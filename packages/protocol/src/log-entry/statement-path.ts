/** Where a log keeps what was signed: the bytes of the pre-authentication encoding, named by their own SHA-256. */
import { fromUtf8 } from '../bytes/utf8.ts';
import { isSha256, type Sha256 } from '../digest/digest.ts';

/** `sha256sum` of the file is its name. */
export function statementPath(digest: Sha256): string {
  return `statement/${digest.slice(0, 2)}/${digest.slice(2)}`;
}

export function parseStatementPath(path: string): Sha256 | null {
  const match = /^statement\/([0-9a-f]{2})\/([0-9a-f]{62})$/.exec(path);
  const digest = match === null ? '' : `${match[1]}${match[2]}`;
  return isSha256(digest) ? digest : null;
}

/** Takes a pre-authentication encoding apart (DSSE "protocol"); null when the bytes are none. */
export function parsePae(bytes: Uint8Array): { payloadType: string; payload: Uint8Array } | null {
  const head = /^DSSEv1 (0|[1-9][0-9]{0,3}) /.exec(latin1(bytes.subarray(0, 16)));
  if (head === null) return null;
  const typeAt = head[0].length;
  const typeEnd = typeAt + Number(head[1]);
  const payloadType = fromUtf8(bytes.subarray(typeAt, typeEnd));
  const middle = /^ (0|[1-9][0-9]{0,9}) /.exec(latin1(bytes.subarray(typeEnd, typeEnd + 13)));
  if (payloadType === null || middle === null) return null;
  const payload = bytes.slice(typeEnd + middle[0].length);
  return payload.length === Number(middle[1]) ? { payloadType, payload } : null;
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
