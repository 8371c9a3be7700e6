/**
 * What a holder keeps of a ceremony (spec/frost.md "Share file"), as bytes for whoever encrypts and writes them. An error
 * never quotes the file: it would quote the share.
 */
import { toHex } from '@lockstep/protocol/bytes/hex';
import { oneOf, table, type TypeOf } from '@lockstep/protocol/decode/decode';
import { type DocumentKind, formatDocument, readDocument } from '@lockstep/protocol/dsse/document';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { name } from './ceremony-documents.ts';
import { groupDocument, groupOf, groupTable } from './group.ts';
import { hexBytes, scalarHex } from './point.ts';
import { type FrostShare, isShareOf } from './unconfirmed.ts';

const shareTable = table({ schema: oneOf(['lockstep-frost-share/v1'] as const), holder: name, group: groupTable, share: scalarHex });
type ShareDocument = TypeOf<typeof shareTable>;
const SHARE: DocumentKind<ShareDocument> = {
  noun: 'frost-share',
  payloadType: 'application/vnd.lockstep.frost-share+json',
  decode: shareTable,
};

/** A group of 32 with all its confirmations has less than 100,000. */
export const MAX_SHARE_BYTES = 1 << 20;

/** Holds the secret in clear: for the memory of one process, and for encryption. */
export function encodeShare(share: FrostShare): Uint8Array {
  return formatDocument(SHARE, {
    schema: 'lockstep-frost-share/v1',
    holder: share.holder.name,
    group: groupDocument(share.group),
    share: toHex(share.secret()),
  });
}

/** Everything is verified again, the confirmations of all too. @throws LockstepError CUSTODY_FAILED */
export function decodeShare(bytes: Uint8Array): FrostShare {
  const document = read(bytes);
  if (document === null) throw broken('it is not what lockstep wrote');
  let group: FrostShare['group'];
  try {
    group = groupOf(document.group);
  } catch (error) {
    if (error instanceof LockstepError) throw broken('its group is not one that all have confirmed');
    throw error;
  }
  const holder = group.ceremony.participants.find((one) => one.name === document.holder);
  if (holder === undefined) throw broken('its holder is not in the group');
  const secret = hexBytes(document.share);
  if (!isShareOf(group, holder, secret)) throw broken('the share is not of this group and this holder');
  return { group, holder, secret: () => secret };
}

function read(bytes: Uint8Array): ShareDocument | null {
  if (bytes.length > MAX_SHARE_BYTES) return null;
  try {
    return readDocument(SHARE, SHARE.payloadType, bytes);
  } catch (error) {
    // Its message says what was found instead, which may be the share.
    if (error instanceof LockstepError) return null;
    throw error;
  }
}

function broken(why: string): LockstepError {
  return new LockstepError(
    'CUSTODY_FAILED',
    `The share cannot be used: ${why}`,
    'Restore the file of the share from this holder’s own backup; without one, the others make a new key (spec/frost.md).',
  );
}
