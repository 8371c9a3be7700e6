/** What is said until there is a key (spec/frost.md "Documents of a ceremony"). Each names the ceremony by its digest. */
import { type Decoder, integer, issue, list, nullable, oneOf, table, text, type TypeOf } from '@lockstep/protocol/decode/decode';
import { fromBase64, toBase64 } from '@lockstep/protocol/bytes/base64';
import { isSha256, type Sha256 } from '@lockstep/protocol/digest/digest';
import type { DocumentKind } from '@lockstep/protocol/dsse/document';
import { ALGORITHMS, isKeyUse, mayUse } from '@lockstep/protocol/key/key-use';
import { publicKeyFromSpki } from '@lockstep/protocol/key/p256';
import { hex32, pointHex, proofHex } from './point.ts';

/** Each writes to each: the messages of a ceremony grow with the square, and every participant is somebody to telephone. */
export const MAX_PARTICIPANTS = 32;

const [ED25519] = ALGORITHMS;
export const sha256: Decoder<Sha256> = (value, path) => text('a SHA-256 in hex', isSha256, 64)(value, path) as ReturnType<Decoder<Sha256>>;
export const name = text('a name', (value) => /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(value), 100);
const p256 = text('a P-256 key, DER in base64', isP256, 200);
const use = text('a use that Ed25519 keys may have', (value) => isKeyUse(value) && mayUse(value, ED25519), 40);
/** A share is 32 bytes, a tag 16. */
const sealedShare = table({ to: name, ephemeral: hex32, box: text('48 bytes in hex', (value) => /^[0-9a-f]{96}$/.test(value), 96) });

const openingTable = table({
  schema: oneOf(['lockstep-frost-ceremony/v1'] as const),
  mode: oneOf(['dealer', 'dkg'] as const),
  /** What the key will be called, and the one thing that it is for. */
  key: name,
  use,
  /** The public key of the secret that is split; null: a new key is made. */
  existing: nullable(pointHex),
  threshold: integer(2, MAX_PARTICIPANTS),
  /** Sorted by name. Numbered from 1: the identifiers of RFC 9591. */
  participants: list(table({ name, node_key: p256, box_key: hex32 }), MAX_PARTICIPANTS, 2),
  /** Who began; in the mode "dealer" also who deals. */
  initiator: p256,
  nonce: hex32,
});

/** One participant under two names would be two of the threshold. */
const opening: Decoder<TypeOf<typeof openingTable>> = (value, path) => {
  const decoded = openingTable(value, path);
  if (!decoded.ok) return decoded;
  const { participants, threshold, existing, mode } = decoded.value;
  for (const key of ['name', 'node_key', 'box_key'] as const)
    if (new Set(participants.map((one) => one[key])).size !== participants.length)
      return issue([...path, 'participants'], value, `each ${key} once`);
  if (!isSorted(participants.map((one) => one.name))) return issue([...path, 'participants'], value, 'participants sorted by name');
  if (threshold > participants.length) return issue([...path, 'threshold'], threshold, `at most the ${participants.length} participants`);
  return existing !== null && mode !== 'dealer'
    ? issue([...path, 'existing'], existing, 'null: only a dealer has a key to split')
    : decoded;
};

const part = { ceremony: sha256, from: name };
const round1 = table({
  schema: oneOf(['lockstep-frost-round1/v1'] as const),
  ...part,
  commitment: list(pointHex, MAX_PARTICIPANTS, 2),
  proof: proofHex,
});
const round2 = table({
  schema: oneOf(['lockstep-frost-round2/v1'] as const),
  ...part,
  /** Of the messages of round 1 that this participant had. */
  round1: sha256,
  shares: list(sealedShare, MAX_PARTICIPANTS, 1),
});
const deal = table({
  schema: oneOf(['lockstep-frost-deal/v1'] as const),
  ceremony: sha256,
  commitment: list(pointHex, MAX_PARTICIPANTS, 2),
  shares: list(sealedShare, MAX_PARTICIPANTS, 2),
});
const confirmation = table({
  schema: oneOf(['lockstep-frost-confirmation/v1'] as const),
  ...part,
  transcript: sha256,
  group_key: pointHex,
});

export type Opening = TypeOf<typeof opening>;

const kind = <T>(noun: string, decode: Decoder<T>): DocumentKind<T> => ({
  noun,
  payloadType: `application/vnd.lockstep.${noun}+json`,
  decode,
});
/** Signed by the initiator: who makes which key. */
export const OPENING = kind('frost-ceremony', opening);
/** Signed by a participant: its polynomial, committed to, and that it knows it. */
export const ROUND1 = kind('frost-round1', round1);
/** Signed by a participant: a share for each of the others, sealed. */
export const ROUND2 = kind('frost-round2', round2);
/** Signed by the dealer: the polynomial, committed to, and a share for each participant, sealed. */
export const DEAL = kind('frost-deal', deal);
/** Signed by a participant: "this is all that was said, and my share fits it". */
export const CONFIRMATION = kind('frost-confirmation', confirmation);

export function isSorted(names: readonly string[]): boolean {
  return names.every((one, index) => index === 0 || (names[index - 1] ?? '') < one);
}

function isP256(value: string): boolean {
  const spki = fromBase64(value);
  if (spki === null || toBase64(spki) !== value) return false;
  try {
    publicKeyFromSpki(spki);
    return true;
  } catch {
    return false;
  }
}
