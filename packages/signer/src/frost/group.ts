/**
 * What everybody may know of a key that is held by many (spec/frost.md "Group"): all of it follows from the opening, the
 * commitments and the digests of what was said, and every participant has confirmed exactly that.
 */
import type { FrostPublic } from '@noble/curves/abstract/frost.js';
import { fromBase64, toBase64 } from '@lockstep/protocol/bytes/base64';
import { toHex } from '@lockstep/protocol/bytes/hex';
import { type Decoder, list, oneOf, table, text, type TypeOf } from '@lockstep/protocol/decode/decode';
import { type Sha256, sha256Hex } from '@lockstep/protocol/digest/digest';
import { type DocumentKind, formatDocument, readDocument } from '@lockstep/protocol/dsse/document';
import { LockstepError } from '@lockstep/protocol/error/lockstep-error';
import { canonicalBytes } from '@lockstep/protocol/json/canonical';
import { type AnyKey, ed25519Key } from '@lockstep/protocol/key/any-key';
import { CONFIRMATION, MAX_PARTICIPANTS, sha256 } from './ceremony-documents.ts';
import { ceremonyFailed } from './ceremony-failed.ts';
import { type Ceremony, ceremonyOf, oneOfEach } from './ceremony.ts';
import { hexBytes, pointHex, verifyingShare } from './point.ts';

export interface Draft {
  readonly ceremony: Ceremony;
  /** Digests of all that was said: round 1 and round 2 in the order of the participants, or the deal. */
  readonly messages: readonly Sha256[];
  /** Of the group's polynomial; the first is the public key. */
  readonly commitment: readonly Uint8Array[];
  /** What each participant confirms: covers all of the above, and the verifying shares that follow from it. */
  readonly transcript: Sha256;
  readonly publicKey: AnyKey;
  /** For noble. Verifying shares are computed here, never taken from anybody. */
  readonly package: FrostPublic;
}

export interface FrostGroup extends Draft {
  /** Of all participants, in their order. */
  readonly confirmations: readonly Uint8Array[];
}

/** @throws LockstepError CEREMONY_FAILED */
export function draftGroup(ceremony: Ceremony, messages: readonly Sha256[], commitment: readonly Uint8Array[]): Draft {
  const [first] = commitment;
  if (first === undefined || commitment.length !== ceremony.threshold)
    throw ceremonyFailed(`${commitment.length} commitments are not a polynomial for the threshold ${ceremony.threshold}`);
  if (ceremony.existing !== null && toHex(first) !== toHex(ceremony.existing))
    throw ceremonyFailed('The dealer has dealt another key than the one that was to be split');
  const shares = ceremony.participants.map((one) => {
    const share = verifyingShare(commitment, one.number);
    if (share === null) throw ceremonyFailed(`The commitments give ${one.name} no share`);
    return { one, share };
  });
  const transcript = sha256Hex(
    canonicalBytes({
      schema: 'lockstep-frost-transcript/v1',
      ceremony: ceremony.id,
      messages,
      commitment: commitment.map(toHex),
      verifying_shares: shares.map(({ one, share }) => ({ name: one.name, share: toHex(share) })),
    }),
  );
  return {
    ceremony,
    messages,
    commitment,
    transcript,
    publicKey: ed25519Key(first),
    package: {
      signers: { min: ceremony.threshold, max: ceremony.participants.length },
      commitments: commitment.map((one) => Uint8Array.from(one)),
      verifyingShares: Object.fromEntries(shares.map(({ one, share }) => [one.identifier, Uint8Array.from(share)])),
    },
  };
}

/** Only what all have confirmed alike is a key. @throws LockstepError CEREMONY_FAILED names who has not */
export function confirmGroup(draft: Draft, confirmations: readonly Uint8Array[]): FrostGroup {
  for (const { from, said } of oneOfEach(draft.ceremony, CONFIRMATION, confirmations)) {
    if (said.value.transcript !== draft.transcript)
      throw ceremonyFailed(`${from.name} confirms another transcript: somebody told two stories, or ${from.name} does`);
    if (said.value.group_key !== toHex(draft.commitment[0] ?? new Uint8Array()))
      throw ceremonyFailed(`${from.name} confirms another public key`);
  }
  return { ...draft, confirmations };
}

const base64 = text('bytes in base64', (value) => /^[A-Za-z0-9+/]+={0,2}$/.test(value) && fromBase64(value) !== null, 100_000);
export const groupTable = table({
  schema: oneOf(['lockstep-frost-group/v1'] as const),
  opening: base64,
  messages: list(sha256, 2 * MAX_PARTICIPANTS, 1),
  commitment: list(pointHex, MAX_PARTICIPANTS, 2),
  confirmations: list(base64, MAX_PARTICIPANTS, 2),
});
export type GroupDocument = TypeOf<typeof groupTable>;
const GROUP: DocumentKind<GroupDocument> = {
  noun: 'frost-group',
  payloadType: 'application/vnd.lockstep.frost-group+json',
  decode: groupTable satisfies Decoder<GroupDocument>,
};

export function groupDocument(group: FrostGroup): GroupDocument {
  return {
    schema: 'lockstep-frost-group/v1',
    opening: toBase64(group.ceremony.payload),
    messages: group.messages,
    commitment: group.commitment.map(toHex),
    confirmations: group.confirmations.map(toBase64),
  };
}

/** Public: what a coordinator needs. Whoever reads it still has to know from elsewhere that the public key is the right one. */
export function encodeGroup(group: FrostGroup): Uint8Array {
  return formatDocument(GROUP, groupDocument(group));
}

/** Everything is verified again. @throws LockstepError CEREMONY_FAILED */
export function groupOf(document: GroupDocument): FrostGroup {
  const ceremony = ceremonyOf(fromBase64(document.opening) ?? new Uint8Array());
  const draft = draftGroup(ceremony, document.messages, document.commitment.map(hexBytes));
  return confirmGroup(
    draft,
    document.confirmations.map((one) => fromBase64(one) ?? new Uint8Array()),
  );
}

/** @throws LockstepError CEREMONY_FAILED */
export function decodeGroup(bytes: Uint8Array): FrostGroup {
  let document: GroupDocument | null;
  try {
    document = readDocument(GROUP, GROUP.payloadType, bytes);
  } catch (error) {
    if (error instanceof LockstepError) throw ceremonyFailed(`The group's file is broken: ${error.message}`);
    throw error;
  }
  if (document === null) throw new TypeError('readDocument passed over its own kind');
  return groupOf(document);
}
